#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes a tree with llama-server for its tests, from Debian's testing: older releases have
# none. As root.
#
#   scripts/llama.sh [DIR]
#
# DIR is $L2D_LLAMA, or ~/.cache/l2d/llama. Packages are unpacked there, with all that they
# need, and not installed: the tests run DIR/root/usr/bin/llama-server in that root.
# Exits with 69 when packages could not be had: tests can be skipped then.
set -eu

DIR=${1:-${L2D_LLAMA:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/l2d/llama}}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ ! -x "$DIR/root/usr/bin/llama-server" ] || exit 0

mirror=${L2D_VM_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)}
[ -n "$mirror" ] || { echo "llama: APT knows no Debian repository" >&2; exit 69; }
mkdir -p "$DIR/state/lists/partial" "$DIR/cache/archives/partial" "$DIR/etc/apt.conf.d" "$DIR/etc/preferences.d"
echo "deb [signed-by=$KEYRING] $mirror forky main" >"$DIR/etc/sources.list"
# The index of a release that is being made can be past its date on a mirror.
cat >"$DIR/apt.conf" <<END
Dir "$DIR";
Dir::State "state";
Dir::State::status "/dev/null";
Dir::Cache "cache";
Dir::Etc "etc";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
END
export APT_CONFIG="$DIR/apt.conf"
apt-get -qq update && apt-get -qq -y --download-only install llama.cpp-tools ||
	{ echo "llama: the packages cannot be had" >&2; exit 69; }
rm -rf "$DIR/part" && mkdir "$DIR/part"
# The directories of /usr have their own names only, as in all of Debian.
for d in bin sbin lib lib64; do mkdir -p "$DIR/part/usr/$d" && ln -s "usr/$d" "$DIR/part/$d"; done
for p in "$DIR"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$p" | tar -x --keep-directory-symlink -C "$DIR/part"; done
mkdir -p "$DIR/part/dev" "$DIR/part/tmp"
chroot "$DIR/part" /usr/bin/llama-server --version >&2 || { echo "llama: it does not run here" >&2; exit 69; }
rm -rf "$DIR/root" "$DIR/cache"
mv "$DIR/part" "$DIR/root"
