#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Measures congestion controls over emulated paths in a virtual machine whose clock
# counts instructions, and passes over idle times.
#
#   scripts/vm/l4s.sh [-k KERNEL] [-p PATH] [RUNS [SECONDS]]
#
# PATH is the beginning of what a row is about: without, all. 50 Mbit/s and 40 ms, RUNS (10) of SECONDS (20) each. A run takes as long on an idle
# host, and several times that on a busy one.
set -efuo pipefail

# shellcheck source=scripts/vm/kit.sh
. "$(dirname "$0")/kit.sh"
only=7.3 row=
while getopts k:p: option; do
	case $option in
	k) only=$OPTARG ;;
	p) row=$OPTARG ;;
	*) echo "usage: $0 [-k KERNEL] [-p PATH] [RUNS [SECONDS]]" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
kernel=$(kernels "$only" | head -n 1) || { echo "vm: no kernel $only: there are $(tr '\n' ' ' <"$KIT/kernels")" >&2; exit 2; }

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
CGO_ENABLED=0 go build -o "$tree/l2ctl" ./cmd/l2ctl
CGO_ENABLED=0 go build -o "$tree.vm" ./scripts/vm
trap 'rm -rf "$tree" "$tree.vm"' EXIT
cat >"$tree/run.sh" <<'EOF'
runs=$1 seconds=$2 row=$3
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
ip link set lo up
modprobe -a tun tcp_bbr tcp_dctcp
# What it is about, what BBRv3 in the kernel of its authors came to, and the path. What others
# make of losses is known, and tells whether the path loses as it is said to: Reno's rate is
# sqrt(3 / 2 / loss) packets in an RTT, and BBR (version 1) gives way to no such loss.
while IFS='|' read -r what reference arguments; do
	case $what in "$row"*) ;; *) continue ;; esac
	echo "== $what; reference: $reference"
	./l2ctl lab path --runs "$runs" --duration "${seconds}s" $arguments </dev/null || exit
done <<'PATHS'
alone, 1 BDP|46.3, queue p50 14 ms|bbr3
0.5 % lost|37.9|--queue 8 --loss 0.5 bbr3
1 % lost|33.7|--queue 8 --loss 1 bbr3
2 % lost|19.3|--queue 8 --loss 2 bbr3
3 % lost|15.2|--queue 8 --loss 3 bbr3
25 kB of buffer|32.2|--queue 0.1 bbr3
beside cubic, 0.5 BDP|35.4 to 10.4|--queue 0.5 bbr3 cubic
against itself|none|bbr3 bbr3
bbr alone|none|bbr
cubic alone|none|cubic
reno, 1 % lost|3.5 by its formula|--queue 8 --loss 1 reno
bbr, 3 % lost|all but what is lost|--queue 8 --loss 3 bbr
bbr, 25 kB of buffer|none|--queue 0.1 bbr
cubic, 25 kB of buffer|none|--queue 0.1 cubic
beside bbr|none|bbr3 bbr
reno beside it|none|bbr3 reno
PATHS
EOF
"$tree.vm" -kit "$KIT" -kernel "$kernel" -tree "$tree" -virtual-time -timeout 24h -- bash run.sh "${1:-10}" "${2:-20}" "$row"
