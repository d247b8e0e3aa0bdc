# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the scripts here that start machines: goes to the top of the tree, and has the
# kit that build.sh has made.

PATH=/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
KIT=$(realpath -m "${L2D_VM_KIT:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/l2d/vm}")
[ -e "$KIT/recipe" ] || { echo "vm: no kit in $KIT: make vm" >&2; exit 1; }

# kernels prints the kernels of the kit whose names begin with TEXT, or fails.
kernels() { awk -v text="$1" 'index($0, text) == 1 { print; found = 1 } END { exit !found }' "$KIT/kernels"; }
