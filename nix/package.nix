# SPDX-License-Identifier: GPL-2.0-only
#
# The eBPF objects are in the sources: neither clang nor kernel headers are needed.
{
  lib,
  buildGoModule,
  makeWrapper,
  nftables,
  # Changes with what is imported: make vendor-hash.
  vendorHash ? "sha256-ZTE4SjH3SYihrC4z+8ccTTJROxihAx950eAR4EVGKVM=",
}:
buildGoModule {
  pname = "l2d";
  version = "0";
  src = lib.cleanSource ../.;
  inherit vendorHash;

  subPackages = [
    "cmd/l2d"
    "cmd/l2ctl"
  ];
  env.CGO_ENABLED = 0;
  ldflags = [
    "-s"
    "-w"
  ];
  # The tests need root, network namespaces and BPF.
  doCheck = false;

  nativeBuildInputs = [ makeWrapper ];
  postInstall = ''
    install -d $out/share/man/man8 $out/share/l2d $out/share/bash-completion/completions
    install -d $out/share/zsh/site-functions $out/share/fish/vendor_completions.d
    $out/bin/l2d --man >$out/share/man/man8/l2d.8
    $out/bin/l2ctl man >$out/share/man/man8/l2ctl.8
    $out/bin/l2ctl schema >$out/share/l2d/l2d.schema.json
    $out/bin/l2ctl completion bash >$out/share/bash-completion/completions/l2ctl
    $out/bin/l2ctl completion zsh >$out/share/zsh/site-functions/_l2ctl
    $out/bin/l2ctl completion fish >$out/share/fish/vendor_completions.d/l2ctl.fish
    for program in l2d l2ctl; do
      wrapProgram $out/bin/$program --prefix PATH : ${lib.makeBinPath [ nftables ]}
    done
  '';

  meta = {
    description = "nftables rulesets as eBPF, at XDP and TC";
    license = lib.licenses.gpl2Only;
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    mainProgram = "l2d";
  };
}
