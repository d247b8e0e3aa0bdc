#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Installs what l2d needs on Debian 12 or 13, as root.
#
#   scripts/setup.sh [run] [test] [generate] [vm] [bench]     (without a word: all but the last)
#
#   run       what the demo runs: Go, nftables, iproute2, iperf3, ...
#   test      what `make test` and `make lint` need on top of it
#   generate  clang 19 and the headers that rebuild the eBPF objects
#   vm        what builds and runs the virtual machines of `make test-vm`
#   bench     the tools of `make bench-tools`; netperf is in Debian's section non-free
#
# It changes nothing and asks no server when everything is there. Services that
# packages bring along are neither started nor enabled.
set -eu

# The version and the checksum (as in go.sum) of the Go toolchain that is
# installed when there is none of at least version GO_LEAST.
GO_LEAST=1.26
GO_VERSION=1.26.8
GO_SUM_amd64=h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=
GO_SUM_arm64=h1:sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=
GO_ROOT=/usr/local/go

# COMMAND:PACKAGE, or FILE:PACKAGE where a package has no command.
RUN='make:make git:git nft:nftables ip:iproute2 iperf3:iperf3 ping:iputils-ping
traceroute:traceroute tcpdump:tcpdump ethtool:ethtool curl:curl
kea-dhcp4:kea-dhcp4-server kea-dhcp6:kea-dhcp6-server pdns_recursor:pdns-recursor
dhclient:isc-dhcp-client dnsmasq:dnsmasq-base radvd:radvd
/etc/ssl/certs/ca-certificates.crt:ca-certificates'
TEST='hostapd:hostapd wpa_supplicant:wpasupplicant promtool:prometheus tmux:tmux strace:strace mandoc:mandoc zsh:zsh fish:fish
nix-instantiate:nix-bin
clang-format-19:clang-format-19 bpftool:bpftool gcc:gcc tshark:tshark
/usr/include/stdlib.h:libc6-dev clang-19:clang-19
/usr/include/bpf/bpf_helpers.h:libbpf-dev /usr/include/linux/bpf.h:linux-libc-dev
knotd:knot dig:bind9-dnsutils udhcpc:udhcpc'
GENERATE='clang-19:clang-19 llvm-strip-19:llvm-19 bpftool:bpftool
/usr/include/bpf/bpf_helpers.h:libbpf-dev /usr/include/linux/bpf.h:linux-libc-dev'
VM='make:make qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs depmod:kmod xz:xz-utils zstd:zstd
/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring'
BENCH='iperf:iperf fping:fping irtt:irtt dnsperf:dnsperf wrk:wrk flent:flent perfdhcp:kea-admin'

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

# Services of packages that are installed now; those that were there before
# are the administrator's.
SERVICES='kea-dhcp4-server kea-dhcp4 kea-dhcp6-server kea-dhcp6 pdns-recursor knot iperf3 radvd prometheus prometheus-node-exporter hostapd wpa_supplicant'

have() {
	case $1 in
	/*) [ -e "$1" ] ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

# missing prints the packages whose command or file is absent.
missing() {
	for pair in $1; do
		have "${pair%%:*}" || echo "${pair#*:}"
	done | sort -u
}

# go_works says whether the go command is new enough.
go_works() {
	v=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
	v=${v#go}
	least=$(printf '%s\n%s\n' "$GO_LEAST" "$v" | sort -V | head -n 1)
	[ "$least" = "$GO_LEAST" ]
}

apt_install() {
	[ -n "$1" ] || return 0
	have apt-get || die "these are missing, and this is not Debian: $1"
	[ "$(id -u)" -eq 0 ] || die "installing needs root: $1"
	say "installing $1"
	# No service may start while its package is set up.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		ours=yes
	fi
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list of packages
	if ! apt-get install -y -q --no-install-recommends $1 >/dev/null 2>&1; then
		# The package lists may be old, or absent.
		apt-get update -q >&2
		# shellcheck disable=SC2086
		apt-get install -y -q --no-install-recommends $1 >&2 ||
			die "apt-get could not install: $1"
	fi
	if [ "${ours:-}" = yes ]; then
		rm -f $policy
		trap - EXIT INT TERM
	fi
	[ -d /run/systemd/system ] || return 0
	for s in $SERVICES; do
		case " $before " in
		*" $s "*) ;;
		*) systemctl disable --quiet --now "$s.service" 2>/dev/null || : ;;
		esac
	done
}

# install_netperf takes netperf out of the section non-free, which is not added to
# the machine's sources for it.
install_netperf() {
	have netperf && return 0
	# shellcheck disable=SC1091
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT INT TERM
	mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $release" "Created-By: Packages" 2>/dev/null | head -n 1)
	echo "deb ${mirror:-http://deb.debian.org/debian} $release main non-free" >"$tmp/sources.list"
	set -- -q -o Dir::Etc::sourcelist="$tmp/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$tmp/lists" -o Dir::Cache="$tmp/cache"
	apt-get "$@" update >&2
	(cd "$tmp" && apt-get "$@" download netperf >&2)
	# Unpacked and not set up: its service is not wanted.
	dpkg -x "$tmp"/netperf_*.deb "$tmp/netperf"
	install -m 755 "$tmp/netperf/usr/bin/netperf" "$tmp/netperf/usr/bin/netserver" /usr/local/bin/
	rm -rf "$tmp"
	trap - EXIT INT TERM
}

# services_there prints which of SERVICES exist.
services_there() {
	[ -d /run/systemd/system ] || return 0
	for s in $SERVICES; do
		if systemctl cat "$s.service" >/dev/null 2>&1; then printf '%s ' "$s"; fi
	done
}

# install_go fetches the toolchain as the Go module that it is. Any older go
# command can do that, through the module proxy it is configured for, and
# checks it against the checksum database.
install_go() {
	case $(uname -m) in
	x86_64) arch=amd64 sum=$GO_SUM_amd64 ;;
	aarch64) arch=arm64 sum=$GO_SUM_arm64 ;;
	*) die "install Go $GO_LEAST or newer: there is no recipe for $(uname -m)" ;;
	esac
	[ "$(id -u)" -eq 0 ] || die "installing Go needs root"
	[ ! -e $GO_ROOT ] || die "$GO_ROOT exists, but its Go is older than $GO_LEAST: remove or update it"
	have go || apt_install golang-go
	say "installing Go $GO_VERSION in $GO_ROOT"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp" "$GO_ROOT.part"' EXIT INT TERM
	found=$(cd "$tmp" && GOTOOLCHAIN=local GOFLAGS=-modcacherw GOPATH=$tmp GOMODCACHE=$tmp/mod \
		go mod download -json "golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$arch") ||
		die "the Go module proxy did not give the toolchain: $found"
	case $found in
	*"\"Sum\": \"$sum\""*) ;;
	*) die "the toolchain does not have the checksum $sum: $found" ;;
	esac
	mkdir -p "$(dirname "$GO_ROOT")"
	mv "$tmp/mod/golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$arch" "$GO_ROOT.part"
	# A module has no executables, and no go.mod but its own.
	chmod -R u+w "$GO_ROOT.part"
	chmod 755 "$GO_ROOT.part"/bin/* "$GO_ROOT.part"/pkg/tool/*/*
	find "$GO_ROOT.part" -name _go.mod | while read -r f; do mv "$f" "${f%_go.mod}go.mod"; done
	mv "$GO_ROOT.part" "$GO_ROOT"
	rm -rf "$tmp"
	trap - EXIT INT TERM
	hash -r # the shell remembers where the older go was
}

# check_kernel warns: building needs no particular kernel, running does.
check_kernel() {
	v=$(uname -r)
	least=$(printf '6.12\n%s\n' "$v" | sort -V | head -n 1)
	[ "$least" = 6.12 ] || say "warning: kernel $v is older than 6.12: l2d will not start." \
		"On Debian 12 install linux-image-amd64 from bookworm-backports and reboot."
}

PATH=$GO_ROOT/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH
export PATH

[ $# -gt 0 ] || set -- run test generate vm
want=
for group; do
	case $group in
	run) want="$want $RUN" ;;
	test) want="$want $RUN $TEST" ;;
	generate) want="$want $GENERATE" ;;
	vm) want="$want $VM" ;;
	bench) want="$want $RUN $BENCH" netperf=yes ;;
	*) die "unknown: $group; want run, test, generate, vm or bench" ;;
	esac
done

before=$(services_there)
apt_install "$(missing "$want" | tr '\n' ' ' | sed 's/ $//')"
[ "${netperf:-}" != yes ] || install_netperf || say "no netperf: bench-tools leaves it out, and flent"
go_works || install_go
go_works || die "Go $GO_LEAST or newer does not run"
check_kernel
