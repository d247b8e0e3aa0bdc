#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Which n-tuple rules the hardware of an interface accepts; removes what it adds.
PATH=$(dirname "$0")/../bin:$PATH
exec l2ctl ntuple test "$@"
