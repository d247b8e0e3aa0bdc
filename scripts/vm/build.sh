#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the kit that scripts/vm runs tests with, from Debian's packages:
#
#   KIT/kernels          a line for each kernel, oldest first: its name
#   KIT/KERNEL/vmlinux   that kernel, unpacked: qemu starts it faster
#   KIT/KERNEL/early/    the modules that find the root file system, in order
#   KIT/root.ext4        Debian with the tools of the tests, and modules of all kernels
#   KIT/vm               the command that starts it
#   KIT/accel            how: kvm, if a kernel gets as far as that here, or tcg
#
#   scripts/vm/build.sh [DIR]
#
# DIR is $L2D_VM_KIT, or ~/.cache/l2d/vm. Downloaded packages stay in it. A kit
# that this recipe has made is kept as it is: remove DIR/recipe for one with
# newer kernels. Packages come from where this host's APT gets Debian, or from
# $L2D_VM_MIRROR. As root on amd64; nothing on the host is changed outside DIR.
#
# Exits with 69 when packages could not be had: tests can be skipped then.
set -euo pipefail

PATH=/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH
HERE=$(dirname "$(realpath "$0")")
KIT=$(realpath -m "${1:-${L2D_VM_KIT:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/l2d/vm}}")
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
UNAVAILABLE=69

# The suites whose kernels are tested, oldest first.
SUITES='trixie trixie-backports'

# What is in the root file system, with what these packages depend on.
PACKAGES='base-files bash coreutils findutils grep sed mawk util-linux procps kmod netbase libc-bin
iproute2 ppp pppoe nftables iputils-ping ethtool tcpdump traceroute curl ca-certificates iperf3 conntrack
hostapd wpasupplicant iw wireless-regdb systemd radvd kea-dhcp4-server udhcpc'

# What modules are built with.
BUILD_PACKAGES='base-files bash dash coreutils findutils grep sed mawk make binutils perl-base'

# The modules that the root file system is found by.
EARLY='virtio_pci virtio_blk virtio_console virtio_rng ext4'

# Modules in the root file system, with what they depend on; and all of net/.
MODULES='veth dummy bonding vrf tun macvlan vxlan geneve wireguard ifb nlmon macsec
pppoe virtio_net igb e1000e vmxnet3 netdevsim mac80211_hwsim nls_ascii
cmac ccm gcm ctr crc32c chacha20poly1305'

say() { echo "vm: $*" >&2; }
unavailable() { say "$*"; exit $UNAVAILABLE; }

step() {
	local begin=$SECONDS
	"$@"
	say "$1 took $((SECONDS - begin)) s"
}

# apt-get of the kit: Debian 13's packages, and nothing of the host's.
apt() { APT_CONFIG=$KIT/apt/apt.conf apt-get -qq "$@"; }

mirror() {
	[ -z "${L2D_VM_MIRROR:-}" ] || { echo "$L2D_VM_MIRROR"; return; }
	# Not head: it would close the pipe before apt-get is through.
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p
}

prepare_apt() {
	local uri suite
	uri=$(mirror)
	[ -n "$uri" ] || unavailable "APT knows no Debian repository: run apt-get update, or set L2D_VM_MIRROR"
	[ -e "$KEYRING" ] || unavailable "$KEYRING is missing: install debian-archive-keyring"
	rm -rf "$KIT/apt"
	mkdir -p "$KIT"/apt/state/lists/partial "$KIT"/apt/cache "$KIT"/debs/partial
	for suite in $SUITES; do
		echo "deb [signed-by=$KEYRING] $uri $suite main"
	done >"$KIT/apt/sources.list"
	cat >"$KIT/apt/apt.conf" <<-END
		Dir "$KIT/apt";
		Dir::State "state";
		Dir::State::status "/dev/null";
		Dir::Cache "cache";
		Dir::Cache::archives "$KIT/debs";
		Dir::Etc "$KIT/apt";
		Dir::Etc::sourcelist "sources.list";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "0";
		APT::Keep-Downloaded-Packages "1";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::http::Timeout "30";
	END
	apt -o APT::Update::Error-Mode=any update || unavailable "no package lists from $uri"
}

# packages prints the packages that APT would install, as NAME VERSION ARCHITECTURE:
# nothing is installed, so they are those named and all that they depend on.
packages() {
	apt -s install "$@" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*\[\([a-z0-9]*\)\]).*/\1 \2 \3/p'
}

# download has the packages that standard input names in KIT/debs, and prints
# the names of their files.
download() {
	local name version arch file files=() wanted=()
	while read -r name version arch; do
		file=$KIT/debs/${name}_${version//:/%3a}_$arch.deb
		files+=("$file")
		[ -e "$file" ] || wanted+=("$name=$version")
	done
	if [ ${#wanted[@]} -gt 0 ]; then
		rm -rf "$KIT/debs/partial"
		mkdir -p "$KIT/debs/partial"
		(cd "$KIT/debs/partial" && apt download "${wanted[@]}" >&2) ||
			unavailable "APT could not download: ${wanted[*]}"
		mv "$KIT"/debs/partial/*.deb "$KIT/debs/"
	fi
	printf '%s\n' "${files[@]}"
}

# unpack extracts packages without running their scripts.
unpack() {
	local root=$1 deb
	shift
	mkdir -p "$root"
	for deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root"
	done
}

# merge_usr makes the links of a merged /usr, before anything is unpacked.
merge_usr() {
	local d
	for d in bin lib lib64 sbin; do
		mkdir -p "$1/usr/$d"
		ln -sfn "usr/$d" "$1/$d"
	done
}

# with_dependencies prints the files of modules and of what they need, in order.
with_dependencies() {
	local full=$1 kernel=$2 name
	shift 2
	for name; do
		# What is built in, and what this kernel does not have, has no file.
		modprobe -d "$full" -S "$kernel" --show-depends "$name" 2>/dev/null || :
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# left_out builds modules that Debian's kernels leave out, DualPI2 and netdevsim, in a root file
# system of its own with the compiler that they were built with.
left_out() {
	local suite=$1 kernel=$2 to=$3 build=$KIT/build files source
	rm -rf "$build"
	merge_usr "$build"
	source=linux-source-$(cut -d . -f 1-2 <<<"$kernel")
	# shellcheck disable=SC2086 # a list of packages
	files=$(packages $BUILD_PACKAGES "linux-headers-amd64/$suite")
	files=$(download <<<"$files")
	# shellcheck disable=SC2086 # a list of files
	unpack "$build" $files
	source=$(packages "$source/$suite" | grep "^$source ")
	source=$(download <<<"$source")
	mkdir -p "$build"/{dev,proc,tmp,module}
	mknod -m 666 "$build/dev/null" c 1 3
	ln -sfn dash "$build/usr/bin/sh"
	ln -sfn mawk "$build/usr/bin/awk"
	dpkg-deb --fsys-tarfile "$source" | tar -x -O --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -x -J -C "$build/module" --strip-components=3 --wildcards '*/net/sched/sch_dualpi2.c' '*/drivers/net/netdevsim/*'
	echo 'obj-m += sch_dualpi2.o netdevsim/' >"$build/module/Makefile"
	sed -i 's/obj-$(CONFIG_NETDEVSIM)/obj-m/' "$build/module/netdevsim/Makefile"
	# objtool reads /proc; the mount ends with its namespace.
	# shellcheck disable=SC2016 # the inner shell expands it
	unshare -m bash -c 'mount -t proc proc "$1/proc" &&
		chroot "$1" make -s -C "/usr/src/linux-headers-$2" M=/module modules' left_out "$build" "$kernel" >&2
	cp "$build/module/sch_dualpi2.ko" "$to/net/sched/"
	mkdir -p "$to/drivers/net/netdevsim"
	cp "$build/module/netdevsim/netdevsim.ko" "$to/drivers/net/netdevsim/"
	rm -rf "$build"
}

kernel() {
	local suite=$1 full=$KIT/full kernel dir n=0 file files
	rm -rf "$full"
	merge_usr "$full"
	# Not what makes an initramfs of it.
	files=$(packages "linux-image-amd64/$suite" | grep -E '^linux-(image|binary|modules|base)-[0-9]')
	files=$(download <<<"$files")
	# shellcheck disable=SC2086 # a list of files
	unpack "$full" $files
	kernel=$(ls "$full/usr/lib/modules")
	dir=$full/usr/lib/modules/$kernel
	mkdir -p "$KIT/$kernel/early"

	for file in "$full/boot/vmlinuz-$kernel" "$dir/vmlinuz"; do
		[ ! -e "$file" ] || "$KIT/vm" -unpack "$file" "$KIT/$kernel/vmlinux"
	done

	find "$dir" -name '*.ko.xz' -exec xz -d --threads=2 {} +
	if grep -qx '# CONFIG_NET_SCH_DUALPI2 is not set' "$full/boot/config-$kernel" "$dir/config" 2>/dev/null; then
		left_out "$suite" "$kernel" "$dir/kernel"
	fi
	depmod -b "$full" "$kernel"
	# shellcheck disable=SC2086 # a list of names
	with_dependencies "$full" "$kernel" $EARLY | while read -r file; do
		cp "$file" "$(printf '%s/%s/early/%02d-%s' "$KIT" "$kernel" $n "${file##*/}")"
		n=$((n + 1))
	done
	# shellcheck disable=SC2046,SC2086 # a list of names
	files=$(with_dependencies "$full" "$kernel" $MODULES \
		$(find "$dir/kernel/net" -name '*.ko' -printf '%f\n' | sed 's/\.ko$//'))
	printf '%s\n' $files "$dir"/modules.{builtin,builtin.modinfo,order} | sed "s|^$full/||" |
		tar -C "$full" -c -T - | tar -x --keep-directory-symlink -C "$KIT/root"
	depmod -b "$KIT/root" "$kernel"
	rm -rf "$full"
	echo "$kernel" >>"$KIT/kernels"
}

root() {
	local root=$KIT/root files file
	rm -rf "$root"
	merge_usr "$root"
	# shellcheck disable=SC2086 # a list of names
	files=$(packages $PACKAGES)
	files=$(download <<<"$files")
	# shellcheck disable=SC2086 # a list of files
	unpack "$root" $files
	# What the packages' scripts would have made, as far as tests need it.
	mkdir -p "$root"/{dev,proc,sys,run,tmp,l2d,root}
	ln -sfn bash "$root/usr/bin/sh" # which services of l2d's own begin by
	ln -sfn mawk "$root/usr/bin/awk"
	ln -sfn traceroute.db "$root/usr/bin/traceroute"
	# Signed with a key that Debian's kernels have.
	for file in regulatory.db regulatory.db.p7s; do
		ln -sfn "$file-debian" "$root/usr/lib/firmware/$file"
	done
	ln -sfn /usr/lib/os-release "$root/etc/os-release"
	printf '%s\n' root:x:0:0::/root:/bin/bash daemon:x:1:1::/:/usr/sbin/nologin \
		nobody:x:65534:65534::/:/usr/sbin/nologin >"$root/etc/passwd"
	printf '%s\n' root:x:0: daemon:x:1: nogroup:x:65534: >"$root/etc/group"
	printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
	printf '%s\n' '127.0.0.1 localhost vm' '::1 localhost' >"$root/etc/hosts"
	rm -rf "$root"/usr/share/{doc,man,locale}
}

image() {
	local size
	size=$(du -sm "$KIT/root" | cut -f 1)
	rm -f "$KIT/root.ext4"
	mke2fs -q -t ext4 -O ^has_journal -d "$KIT/root" "$KIT/root.ext4" $((size * 5 / 4 + 200))M
	rm -rf "$KIT/root"
}

# acceleration notes whether KVM works: there are hosts where it only seems so.
acceleration() {
	local accel=tcg
	if [ -w /dev/kvm ] && "$KIT/vm" -kit "$KIT" -kernel "$(tail -n 1 "$KIT/kernels")" \
		-accel kvm -timeout 20s -- true 2>/dev/null; then
		accel=kvm
	fi
	echo $accel >"$KIT/accel"
	say "machines run by $accel"
}

command_vm() { (cd "$HERE" && CGO_ENABLED=0 go build -trimpath -o "$KIT/vm" .); }

[ "$(uname -m)" = x86_64 ] || unavailable "the kit is for x86_64, this is $(uname -m)"
[ "$(id -u)" -eq 0 ] || unavailable "building the kit needs root, for the owners of its files"
mkdir -p "$KIT"
exec 9>"$KIT/lock"
flock 9
command_vm
recipe=$(sha256sum <"$0" | cut -d ' ' -f 1)
if [ "$(cat "$KIT/recipe" 2>/dev/null)" != "$recipe" ]; then
	say "building the kit in $KIT"
	rm -f "$KIT/recipe" "$KIT/kernels"
	step prepare_apt
	step root
	for suite in $SUITES; do step kernel "$suite"; done
	step image
	step acceleration
	echo "$recipe" >"$KIT/recipe"
fi
say "the kit is in $KIT: $(tr '\n' ' ' <"$KIT/kernels")"
