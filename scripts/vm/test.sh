#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs tests in virtual machines with the kernels of the kit (scripts/vm/build.sh).
#
#   scripts/vm/test.sh [-k KERNEL] [SUITE...]     (without: each kernel, each suite but "whole", which takes long)
#
# KERNEL is the beginning of a name in KIT/kernels. Fails when a test does.
set -efuo pipefail

# shellcheck source=scripts/vm/kit.sh
. "$(dirname "$0")/kit.sh"

# NAME PACKAGE TIMEOUT ARGUMENT...: a package's test, and how long its machine may
# run. An emulated processor is 10 to 30 times slower: no test of time is here.
SUITES='
machine scripts/vm 5m -test.run=TestMachine
verifier loader 25m -test.run=TestVerifier$ -loader.rulesets=../examples/*/*.nft,../pkg/lab/diff/testdata/rulesets/*.nft,testdata/*.nft
links loader 15m -test.run=Encapsulated|WireGuard|VLAN|PPPoE -loader.links
shaper loader 15m -test.run=TestShape -loader.links
ingress cmd/l2d 10m -test.run=TestIngressQdisc
log pkg/lab/diff 10m -test.run=TestLog
inner pkg/policy 10m -test.run=TestInner
examples pkg/lab/diff 25m -test.run=TestExamples -diff.packets=200 -diff.parallel=1
qdisc pkg/host 15m -test.run=TestQdisc
plan pkg/host 15m -test.run=TestWholePlan -host.whole=4
whole pkg/host 90m -test.timeout=90m -test.run=TestWholePlan -host.whole=1
bbr3 pkg/bbr3 15m -test.skip=TestPath|TestOracle|TestConnectionOf
l4s pkg/host 10m -test.run=TestL4S -host.machine
l4s cmd/l2ctl 5m -test.run=TestDoctorL4S -l2ctl.machine
l4s pkg/lab/path 5m -test.run=TestDCTCP -path.machine
congestion pkg/host 5m -test.run=TestCongestion|TestAllowed|TestRoute -host.machine
tcnl pkg/tcnl 5m -tcnl.all
nics pkg/host 10m -test.run=TestMachine|TestIsolated|TestNetdevsim
radios pkg/host 5m -test.run=TestRadio -host.machine
groups pkg/service 10m -test.parallel=1 -test.run=TestLife|TestKilled|TestLimits|TestGroups
units pkg/service 10m -test.run=TestUnits|TestBits
radvd pkg/radvd 5m -test.run=TestSLAAC
capture pkg/nlmon 5m -nlmon.radio
monitor loader 10m -test.run=TestMonitor(Passed|XDP) -loader.trace
hostapd pkg/hostapd 25m -test.run=TestFaults -hostapd.machine
wifi cmd/l2d 15m -test.run=TestWiFi$ -l2d.wifi
wifiunits cmd/l2d 15m -test.run=TestWiFiUnit -l2d.wifi
devices bench 15m -test.run=TestDevices|TestQdisc -bench.devices=flowtable,forward+fq_codel,forward+cake
journal cmd/l2d 10m -test.run=TestJournal -l2d.systemd
reboot cmd/l2d 30m -test.run=TestReboot -l2d.reboots
'

# What the machine of a suite has besides.
options() {
	case $1 in
	units | radvd | hostapd | wifiunits | journal) echo "-systemd" ;;
	reboot) echo "-systemd -reboots" ;;
	l4s) echo "-virtual-time" ;; # it looks at delays
	nics) echo "-cpus 4 -nic virtio-net-pci -nic e1000e -nic vmxnet3" \
		"-append isolcpus=domain,managed_irq,2-3 -append nohz_full=2-3 -append rcu_nocbs=2-3" ;;
	esac
}

usage() {
	echo "usage: $0 [-k KERNEL] [SUITE...]; kernels: $(tr '\n' ' ' <"$KIT/kernels"); suites:" \
		"$(sed -n 's/ .*//p' <<<"$SUITES" | tr '\n' ' ')" >&2
	exit 2
}

only=
while getopts k: option; do
	case $option in
	k) only=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
for name; do grep -q "^$name " <<<"$SUITES" || usage; done
kernels=$(kernels "$only") || usage

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# What tests read is beside their sources.
git ls-files -z -co --exclude-standard | tar -c --null --ignore-failed-read -T - | tar -x -C "$tree"

# run runs a suite on a kernel: NAME KERNEL PACKAGE TIMEOUT ARGUMENT...
run() {
	local name=$1 kernel=$2 package=$3 timeout=$4 begin=$SECONDS code=0
	shift 4
	echo "== vm: $name on Linux $kernel"
	# shellcheck disable=SC2016,SC2046 # the machine's shell expands it; a list
	"$KIT/vm" -kit "$KIT" -kernel "$kernel" $(options "$name") -tree "$tree" -timeout "$timeout" -- bash -c '
		modprobe nf_conntrack
		ip link set lo up && echo 1 >/proc/sys/net/netfilter/nf_log_all_netns && cd "$1" && shift && exec ./vm.test -test.v "$@"' vm "$package" "$@" || code=$?
	echo "== vm: $name on Linux $kernel took $((SECONDS - begin)) s"
	return $code
}

# machine_ended is what a machine that ended by itself exits with: exitMachine of main.go.
machine_ended=125

# twice runs a suite again if it fails: the clock of an emulated machine may stand
# still on a busy host, which its kernel complains of. A machine that ended by itself, as of several
# emulated processors one may meet code that another is patching (Oops: int3), is started
# anew up to two times beside that.
twice() {
	local tries=2 ends=2 code
	while :; do
		code=0
		run "$@" || code=$?
		if [ $code -eq $machine_ended ] && [ $ends -gt 0 ]; then
			ends=$((ends - 1))
		else
			tries=$((tries - 1))
		fi
		[ $code -ne 0 ] && [ $tries -gt 0 ] || return $code
		echo "== vm: $1 on Linux $2 failed, once more"
	done
}

failed=
while read -r name package timeout arguments; do
	[ -n "$name" ] || continue
	[ $# -eq 0 ] && [ "$name" != whole ] || grep -qw -- "$name" <<<"$*" || continue
	test=$tree/$package/vm.test
	[ -e "$test" ] || CGO_ENABLED=0 go test -c -o "$test" "./$package"
	# The kernels at the same time: a machine takes one processor or little more.
	machines=
	for kernel in $kernels; do
		# shellcheck disable=SC2086 # a list
		twice "$name" "$kernel" "$package" "$timeout" $arguments >"$tree/$kernel.log" 2>&1 </dev/null &
		machines="$machines $!:$kernel"
	done
	for machine in $machines; do
		wait "${machine%%:*}" || failed="$failed $name:${machine#*:}"
		cat "$tree/${machine#*:}.log"
	done
done <<<"$SUITES"
if [ -n "$failed" ]; then
	echo "vm: failed:$failed" >&2
	exit 1
fi
