#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the Debian package twice, from two copies of the sources at different places,
# and compares the bytes; installs it in a fresh trixie, tries what is in it, removes and
# purges it, and compares the files with those before. As root; it downloads some
# 60 MB, unless a directory with a trixie is given:
#
#   scripts/deb/test.sh [DIR]
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=/usr/local/go/bin:$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
say() { echo "deb: $*"; }

git clone -q --no-hardlinks . "$work/one/l2d"
git clone -q --no-hardlinks "$work/one/l2d" "$work/another/l2d"
for i in one another; do
	make -s -C "$work/$i/l2d" deb >/dev/null
done
deb=$(echo "$work"/one/l2d/bin/*.deb)
cmp "$deb" "$work/another/l2d/bin/$(basename "$deb")"
say "twice the same bytes: $(sha256sum <"$deb" | cut -c1-64) $(basename "$deb")"

root=$work/trixie
if [ $# -gt 0 ]; then
	cp -a "$1" "$root"
else
	debootstrap --variant=minbase --include=nftables trixie "$root" http://deb.debian.org/debian >"$work/log" || { tail -n 20 "$work/log" >&2; exit 1; }
fi
files() { (cd "$root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./tmp -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log \) -prune -o -print | sort); }
run() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

files >"$work/before"
cp "$deb" "$root/tmp/l2d.deb"
run dpkg -i /tmp/l2d.deb >/dev/null
run l2d --version | grep -q '^layout of flows [0-9a-f]\{12\}$'
commit=$(git -C "$work/one/l2d" rev-parse HEAD)
run l2ctl --version | grep -q "^commit $commit$" || { run l2ctl --version; say "not built from $commit"; exit 1; }
run l2ctl complete -- sta | grep -q ^status
for f in usr/lib/systemd/system/l2d.service usr/share/man/man8/l2ctl.8.gz usr/share/l2d/l2d.schema.json usr/share/l2d/l2d.cdx.json \
	usr/share/bash-completion/completions/l2ctl usr/share/doc/l2d/copyright; do
	[ -s "$root/$f" ] || { say "no /$f"; exit 1; }
done
run dpkg --verify l2d
# The state of a daemon that ran.
mkdir -p "$root/var/lib/l2d" && echo 1 >"$root/var/lib/l2d/x"
run dpkg -r l2d >/dev/null
[ -e "$root/var/lib/l2d/x" ] || { say "what was applied went with a removal"; exit 1; }
run dpkg -P l2d >/dev/null
files >"$work/after"
diff "$work/before" "$work/after" || { say "these files are left, or have gone"; exit 1; }
say "installed, removed and purged without a trace"
