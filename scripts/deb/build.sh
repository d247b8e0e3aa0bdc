#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Makes a Debian package of bin/l2d and bin/l2ctl in a directory (bin/):
#
#   scripts/deb/build.sh [DIR]
#
# The same sources make the same bytes: all times are that of the commit, or of
# SOURCE_DATE_EPOCH.
set -eu
cd "$(dirname "$0")/../.."

out=${1:-bin}
arch=$(dpkg --print-architecture)
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y go.mod)
fi
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
# A tag such as v1.2 is the version; without one it is that of no release yet.
tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || :)
if [ -n "$tag" ]; then
	version=$(echo "${tag#v}" | tr - +)
else
	version=0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)+$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT INT TERM
umask 022
chmod 755 "$root"
install -D -m 755 -t "$root/usr/sbin" bin/l2d bin/l2ctl
install -D -m 644 -t "$root/usr/lib/systemd/system" scripts/l2d.service
share=$root/usr/share
for e in l2 hardened monitoring; do
	install -D -m 644 -t "$share/doc/l2d/examples/$e" examples/$e/*
done
install -D -m 644 -t "$share/doc/l2d" README.md docs/*.md
install -D -m 644 -t "$share/doc/l2d/img" docs/img/*
cat >"$share/doc/l2d/copyright" <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: l2d
Source: https://github.com/randomizedcoder/l2d

Files: *
Copyright: the authors of l2d
License: GPL-2
 On Debian systems the whole text is in /usr/share/common-licenses/GPL-2.
EOF
mkdir -p "$share/man/man8" "$share/l2d" "$share/bash-completion/completions" \
	"$share/zsh/vendor-completions" "$share/fish/vendor_completions.d" "$root/etc/l2d" "$root/DEBIAN"
bin/l2d --man | gzip -9n >"$share/man/man8/l2d.8.gz"
bin/l2ctl man | gzip -9n >"$share/man/man8/l2ctl.8.gz"
bin/l2ctl schema >"$share/l2d/l2d.schema.json"
go run ./scripts/sbom bin/l2d bin/l2ctl >"$share/l2d/l2d.cdx.json"
bin/l2ctl completion bash >"$share/bash-completion/completions/l2ctl"
bin/l2ctl completion zsh >"$share/zsh/vendor-completions/_l2ctl"
bin/l2ctl completion fish >"$share/fish/vendor_completions.d/l2ctl.fish"
install -m 755 -t "$root/DEBIAN" scripts/deb/postinst scripts/deb/prerm scripts/deb/postrm
cat >"$root/DEBIAN/control" <<EOF
Package: l2d
Version: $version
Architecture: $arch
Maintainer: the authors of l2d <l2d@localhost>
Section: net
Priority: optional
Depends: nftables
Recommends: iproute2, linux-image-amd64 (>= 6.12) | linux-image-arm64 (>= 6.12)
Suggests: tcpdump
Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)
Homepage: https://github.com/randomizedcoder/l2d
Description: nftables rulesets as eBPF, at XDP and TC
 Compiles an nftables ruleset into eBPF and enforces it with connection tracking
 and NAT of its own, and keeps the host around it in the state that one file
 declares. It needs Linux 6.12 or newer.
EOF
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
file=$out/l2d_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$file" >/dev/null
echo "$file"
