# SPDX-License-Identifier: GPL-2.0-only
#
# services.l2d enforces networking.nftables.ruleset as it is, in the place of
# nftables.service. nix/l2.nix is an example.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.l2d;
  yaml = pkgs.formats.yaml { };

  # Where it is, is for the module to say.
  settings = lib.recursiveUpdate {
    dataplane.ruleset = "${pkgs.writeText "firewall.nft" cfg.ruleset}";
  } cfg.settings;
  file = yaml.generate "l2d.yaml" settings;
in
{
  options.services.l2d = {
    enable = lib.mkEnableOption "l2d, which enforces an nftables ruleset as eBPF";

    package = lib.mkPackageOption pkgs "l2d" { };

    ruleset = lib.mkOption {
      type = lib.types.lines;
      default = config.networking.nftables.ruleset;
      defaultText = lib.literalExpression "config.networking.nftables.ruleset";
      description = "The nftables ruleset that is enforced.";
    };

    settings = lib.mkOption {
      type = yaml.type;
      default = { };
      example = lib.literalExpression ''
        {
          dataplane.interfaces = [ { name = "enp1s0"; aqm = true; } { name = "br0"; xdp = "off"; } ];
          metrics.listen = "127.0.0.1:9465";
        }
      '';
      description = "What is in l2d.yaml: docs/configuration.md has all keys.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !config.networking.nftables.enable;
        message = "services.l2d enforces networking.nftables.ruleset itself: networking.nftables.enable must be false.";
      }
      {
        assertion = !config.networking.firewall.enable;
        message = "services.l2d does not enforce networking.firewall, which uses iptables: networking.firewall.enable must be false.";
      }
      {
        assertion = (cfg.settings.dataplane.interfaces or [ ]) != [ ];
        message = "services.l2d.settings.dataplane.interfaces: want at least one.";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    environment.etc."l2d/l2d.yaml".source = file;

    systemd.services.l2d = {
      description = "nftables rulesets as eBPF";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-pre.target" ];
      before = [
        "network-pre.target"
        "shutdown.target"
      ];
      after = [
        "local-fs.target"
        "systemd-modules-load.service"
        "systemd-sysctl.service"
        "systemd-tmpfiles-setup.service"
      ];
      conflicts = [ "shutdown.target" ];
      # A change of the file reloads: nothing is detached.
      reloadTriggers = [ file ];
      startLimitIntervalSec = 0;
      path = [
        pkgs.nftables
        pkgs.iproute2
      ];
      unitConfig.DefaultDependencies = false;
      # As scripts/l2d.service.
      serviceConfig = {
        Type = "notify-reload";
        ExecStart = "${cfg.package}/bin/l2d --config /etc/l2d/l2d.yaml";
        WatchdogSec = 30;
        Restart = "always";
        RestartSec = 5;
        RuntimeDirectory = "l2d";
        RuntimeDirectoryMode = "0700";
        RuntimeDirectoryPreserve = true;
        StateDirectory = "l2d";
        StateDirectoryMode = "0700";
        CapabilityBoundingSet = [
          "CAP_BPF"
          "CAP_PERFMON"
          "CAP_NET_ADMIN"
          "CAP_NET_RAW"
          "CAP_SYS_ADMIN"
          "CAP_SYS_RESOURCE"
          "CAP_DAC_OVERRIDE"
          "CAP_CHOWN"
          "CAP_FOWNER"
        ];
        NoNewPrivileges = true;
        LimitMEMLOCK = "infinity";
        ProtectSystem = "full";
        ProtectHome = true;
        PrivateTmp = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        RestrictNamespaces = "net";
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_NETLINK"
          "AF_INET"
          "AF_INET6"
          "AF_PACKET"
        ];
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RemoveIPC = true;
        KeyringMode = "private";
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "~@cpu-emulation"
          "@module"
          "@obsolete"
          "@raw-io"
          "@reboot"
          "@swap"
          "clock_settime"
          "settimeofday"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
