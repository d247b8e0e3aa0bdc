# SPDX-License-Identifier: GPL-2.0-only
#
# L2, the router of examples/l2, as a NixOS module beside what it has already: its
# networking.nftables.ruleset is used as it is.
{ ... }:
{
  imports = [ ./module.nix ];

  networking.nftables.enable = false;
  networking.firewall.enable = false;
  networking.nftables.ruleset = builtins.readFile ../examples/l2/firewall.nft;

  services.l2d = {
    enable = true;
    settings = {
      dataplane = {
        interfaces = [
          {
            name = "enp1s0";
            aqm = true;
          }
          {
            name = "br0";
            xdp = "off"; # bridges have no native XDP
            aqm = true;
            optional = true; # hostapd and networkd make it later
          }
          {
            name = "enp35s0f0np0";
            optional = true;
          }
          {
            name = "enp35s0f1np1";
            optional = true;
          }
          {
            name = "ixgbe0";
            optional = true;
          }
          {
            name = "ixgbe1";
            optional = true;
          }
        ];
        cpus = "0,12,1,13,2,14,3,15,4-7,16-19";
      };
      conntrack = {
        max_flows = 262144;
        timeouts.tcp_established = "24h";
      };
      host = {
        qdiscs.enp1s0 = "dualpi2";
        sysctl = {
          "net.ipv4.ip_forward" = 1;
          "net.ipv6.conf.all.forwarding" = 1;
        };
      };
      metrics.listen = "127.0.0.1:9465";
    };
  };
}
