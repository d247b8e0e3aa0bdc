#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
#
# vendor-hash.sh [--check]: writes vendorHash of nix/package.nix, or says whether it is
# right. It is the hash of what "go mod vendor" makes, in Nix's archive format, and
# changes with what is imported. Needs nix (Debian: nix-bin), and no store or daemon.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=/usr/local/go/bin:$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go mod vendor -o "$dir/vendor"
hash=$(HOME=$dir nix --extra-experimental-features nix-command hash path "$dir/vendor")
if [ "${1:-}" != --check ]; then
	sed -i "s|vendorHash ? .*,|vendorHash ? \"$hash\",|" nix/package.nix
	exit
fi
grep -qF "vendorHash ? \"$hash\"," nix/package.nix || {
	echo "nix/package.nix: vendorHash is not $hash: make vendor-hash" >&2
	exit 1
}
