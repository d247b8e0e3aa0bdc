#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The airtime limits of radios, and what to set them to.
PATH=$(dirname "$0")/../bin:$PATH
exec l2ctl doctor wifi "$@"
