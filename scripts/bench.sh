#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs all of the bench, one part after the other, and draws what was found.
#
#   scripts/bench.sh FOLDER
#
# A part that fails, as on a machine that does something else meanwhile, is told of at
# the end, with the exit code 1; the others are run and drawn all the same.
set -eu

folder=$1
mkdir -p "$folder"
drawn=
failed=

# part NAME COMMAND...: its results are FOLDER/NAME.json.
part() {
	name=$1
	shift
	begin=$(date +%s)
	rm -f "$folder/$name.json"
	if bin/l2ctl bench "$@" --json "$folder/$name.json"; then
		drawn="$drawn $folder/$name.json"
	else
		failed="$failed $name"
	fi
	echo "bench: $name took $(($(date +%s) - begin)) s" >&2
}

part quick quick
part imix quick --frames imix --devices redirect,xdp-forward,l2d,l2d-tc,nftables,flowtable
# The two without one are what the others compare with, and there on any kernel.
part qdiscs quick --devices l2d-tc,nftables,l2d-tc+fq_codel,nftables+fq_codel,l2d-tc+cake,nftables+cake,l2d-tc+dualpi2,nftables+dualpi2
part cores cores
part flows flows
part rules rules
part drops drops
part load load
part micro micro
part tools tools --devices l2d-tc,nftables --repetitions 4 --duration 2s --raw "$folder/raw"

if [ -n "$drawn" ]; then
	# shellcheck disable=SC2086 # names of files, which FOLDER gives no blanks
	bin/l2ctl bench report $drawn -o "$folder/report.html" --svg "$folder/svg"
	echo "bench: see $folder/report.html" >&2
fi
if [ -n "$failed" ]; then
	echo "bench: these have failed, as said above:$failed" >&2
	exit 1
fi
