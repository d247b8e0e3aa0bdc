#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Measures congestion controls over emulated paths in a virtual machine whose clock
# counts instructions, and passes over idle times.
#
#   scripts/vm/l4s.sh [-k KERNEL] [-c NAME] [-n RUNS] [-s SEED] [-t SECONDS] [-o FILE] [ROW...]
#
# A ROW is a pattern of the shell, for names below ('loss-*') or to the end ('* cubic');
# without: all. Of each it does RUNS (10) of SECONDS (15), with the seeds from SEED (1) on:
# each row with the first one, then each with the next one. It adds each run to FILE
# (bench-results/l4s.json), and prints what all in it have come to. Where NAME is a BBRv3 that
# the kernel has by itself, rows with ours are measured with both, and others not. A
# run takes as long on an idle host, and several times that on a busy one.
set -euo pipefail
out=$PWD/bench-results/l4s.json only=7.3 own='' runs=10 seed=1 seconds=15
usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
while getopts k:c:n:s:t:o: option; do
	case $option in
	k) only=$OPTARG ;;
	c) own=$OPTARG ;;
	n) runs=$OPTARG ;;
	s) seed=$OPTARG ;;
	t) seconds=$OPTARG ;;
	o) out=$(realpath -m "$OPTARG") ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))

# shellcheck source=scripts/vm/kit.sh
. "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
kernel=$(kernels "$only" | head -n 1) || { echo "vm: no kernel $only: there are $(tr '\n' ' ' <"$KIT/kernels")" >&2; exit 2; }

# NAME|ARGUMENTS of lab path. At 10 Mbit/s: corners and the middle of rates, RTTs, buffers,
# losses, marks and neighbours. At 50 Mbit/s: where BBR's authors' kernel was once measured.
# What others make of losses is known, and tells whether the path loses as it is said to:
# Reno's rate is sqrt(3 / 2 / loss) packets in an RTT, and BBR (version 1) gives way to none.
ROWS="$(
	for cc in bbr3 bbr cubic reno; do
		cat <<EOF
middle|--rate 10 $cc
buffer-0.25|--rate 10 --queue 0.25 $cc
buffer-8|--rate 10 --queue 8 $cc
loss-0.1|--rate 10 --loss 0.1 $cc
loss-1|--rate 10 --loss 1 $cc
loss-5|--rate 10 --loss 5 $cc
rtt-2|--rate 10 --rtt 2ms --queue 8 $cc
rtt-200|--rate 10 --rtt 200ms $cc
rate-100|--rate 100 --rtt 10ms $cc
EOF
	done
	for cc in bbr3 cubic dctcp; do echo "marks|--rate 10 --mark 5ms $cc"; done
)
itself|--rate 10 bbr3 bbr3
itself|--rate 10 bbr bbr
itself|--rate 10 cubic cubic
itself-late|--rate 10 bbr3 bbr3@5s
itself-late|--rate 10 cubic cubic@5s
cubic-0.25|--rate 10 --queue 0.25 bbr3 cubic
cubic-1|--rate 10 bbr3 cubic
cubic-1|--rate 10 bbr cubic
cubic-8|--rate 10 --queue 8 bbr3 cubic
reno|--rate 10 bbr3 reno
reno|--rate 10 cubic reno
bbr|--rate 10 bbr3 bbr
dctcp|--rate 10 --mark 5ms bbr3 dctcp
50-alone|bbr3
50-loss-0.5|--queue 8 --loss 0.5 bbr3
50-loss-1|--queue 8 --loss 1 bbr3
50-loss-2|--queue 8 --loss 2 bbr3
50-loss-3|--queue 8 --loss 3 bbr3
50-25kB|--queue 0.1 bbr3
50-cubic|--queue 0.5 bbr3 cubic
50-bbr-loss-3|--queue 8 --loss 3 bbr
50-bbr-25kB|--queue 0.1 bbr
50-reno-loss-1|--queue 8 --loss 1 reno"

tree=$(mktemp -d)
trap 'rm -rf "$tree" "$tree.vm"' EXIT
[ $# -gt 0 ] || set -- '*'
while IFS='|' read -r name arguments; do
	for row; do
		# shellcheck disable=SC2254 # a pattern
		case "$name $arguments" in $row | $row\ *) echo "$arguments"; break ;; esac
	done
done <<<"$ROWS" >"$tree/rows"
if [ -n "$own" ]; then
	sed -i "/ $own\b/d; /bbr3/!d; p; s/bbr3/$own/g" "$tree/rows"
fi
[ -s "$tree/rows" ] || { echo "vm: no row $*: there are $(cut -d '|' -f 1 <<<"$ROWS" | sort -u | tr '\n' ' ')" >&2; exit 2; }
CGO_ENABLED=0 go build -o "$tree/l2ctl" ./cmd/l2ctl
CGO_ENABLED=0 go build -o "$tree.vm" ./scripts/vm
cat >"$tree/run.sh" <<'EOF'
runs=$1 seed=$2 seconds=$3 own=${4:-none}
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
ip link set lo up
modprobe -a tun tcp_bbr tcp_dctcp 2>/dev/null
for ((; runs > 0; runs--, seed++)); do
	while read -r arguments; do
		./l2ctl lab path --json --seed "$seed" --duration "${seconds}s" $arguments </dev/null |
			sed "s/\"congestion_control\":\"$own\"/\"congestion_control\":\"kernel's bbr3\"/g" || exit
	done <rows
done
EOF
mkdir -p "$(dirname "$out")"
"$tree.vm" -kit "$KIT" -kernel "$kernel" -tree "$tree" -virtual-time -timeout 24h -- bash -o pipefail run.sh "$runs" "$seed" "$seconds" "$own" >>"$out"
"$tree/l2ctl" lab paths "$out"
