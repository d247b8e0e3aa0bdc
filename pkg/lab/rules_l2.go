// SPDX-License-Identifier: GPL-2.0-only

package lab

// Rules of examples/l2/firewall.nft that the checks expect to decide, as nft
// prints them.
var (
	inInvalid  = ruleName{"input", "ct state invalid drop"}
	inLoop4    = ruleName{"input", "iifname != lo ip saddr @loopback4 drop"}
	inLoop6    = ruleName{"input", "iifname != lo ip6 saddr @loopback6 drop"}
	inBlack4   = ruleName{"input", "ip saddr @blacklist drop"}
	inBlack6   = ruleName{"input", "ip6 saddr @blacklist6 drop"}
	inLAN4     = ruleName{"input", "iifname br0 ip saddr @internal4 accept"}
	inLAN6     = ruleName{"input", "iifname br0 ip6 saddr @internal6 accept"}
	inSpecial4 = ruleName{"input", "ip saddr @special4 drop"}
	inSpecial6 = ruleName{"input", "ip6 saddr @special6 drop"}
	inUpstream = ruleName{"input", "iifname enp1s0 ip saddr 172.16.0.0/16 accept"}
	inReturn   = ruleName{"input", "ct state established,related accept"}
	inRest     = ruleName{"input", "drop"}
	fwInvalid  = ruleName{"forward", "ct state invalid drop"}
	fwUpstream = ruleName{"forward", "iifname br0 ip saddr 172.16.0.0/16 drop"}
	fwOut4     = ruleName{"forward", "iifname br0 oifname enp1s0 ip saddr @internal4 ip daddr != @special4 accept"}
	fwOut6     = ruleName{"forward", "iifname br0 oifname enp1s0 ip6 saddr @internal6 ip6 daddr != @special6 accept"}
	fwSpecial4 = ruleName{"forward", "iifname br0 oifname enp1s0 ip daddr @special4 drop"}
	// The LAN's own prefix is unique local, hence special purpose: the source decides.
	fwSpecial6  = ruleName{"forward", "iifname br0 ip6 saddr @special6 drop"}
	fwReturn    = ruleName{"forward", "iifname enp1s0 oifname br0 ct state established,related accept"}
	fwHighSpeed = ruleName{"forward", "iifname @high_speed_links accept"}
	fwRest      = ruleName{"forward", "drop"}
	outRest     = ruleName{"output", "accept"}
)
