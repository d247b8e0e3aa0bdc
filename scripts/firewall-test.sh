#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What filters, and whether the ruleset can be enforced.
PATH=$(dirname "$0")/../bin:$PATH
exec l2ctl doctor nftables forwarding "$@"
