#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# DualPI2, the queues of the ports, ECN and congestion control.
PATH=$(dirname "$0")/../bin:$PATH
exec l2ctl doctor l4s "$@"
