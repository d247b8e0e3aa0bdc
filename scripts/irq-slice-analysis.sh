#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Isolation of the packet CPUs, interrupts, and the CPUs and memory of slices.
PATH=$(dirname "$0")/../bin:$PATH
exec l2ctl doctor cpu irq slices "$@"
