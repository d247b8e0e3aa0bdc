// SPDX-License-Identifier: GPL-2.0-only

package policy

// supportGroups are the examples of the table in docs/nftables.md.
var supportGroups = []supportGroup{
	{title: "Verdicts and statements", sets: `
		counter hits { }
		quota some { over 10 mbytes }
		limit few { rate 10/minute }`,
		rules: []string{
			"accept", "drop", "continue", "return", "jump other", "goto other", "tcp dport vmap { 22 : accept, 80 : jump other }",
			"reject", "reject with tcp reset", "reject with icmp host-unreachable", "reject with icmpv6 admin-prohibited", "reject with icmpx port-unreachable",
			"queue", "counter", "counter name hits", "quota over 10 mbytes", "quota name some",
			"limit rate 10/second burst 20 packets", "limit rate over 1 mbytes/second burst 64 kbytes", "limit name few",
			`log prefix "x: " level info flags all`, "log group 2 snaplen 64 queue-threshold 10",
			"ct count over 20", "last", "meta mark set 0x1", "meta mark set ct mark", "meta priority set 1:2", "meta nftrace set 1",
			"ct mark set 0x1", "ct mark set meta mark", "ct event set new",
			"ip dscp set cs1", "ip ecn set ect0", "ip ttl set 64", "ip6 dscp set ef", "ip6 hoplimit set 64", "ip saddr set 192.0.2.1", "tcp dport set 8080", "sctp dport set 9899",
			"ether saddr set 00:11:22:33:44:55", "@th,16,16 set 443", "tcp option maxseg size set 1400", "tcp option maxseg size set rt mtu", "tcp flags syn tcp option maxseg size set rt mtu", "reset tcp option sack-perm",
			"synproxy mss 1460 wscale 7",
		}},
	{title: "Copies", family: "ip", rules: []string{"dup to 192.0.2.1", `dup to 192.0.2.1 device "br0"`, `dup to ip saddr map { 10.0.0.1 : 192.0.2.1 }`}},
	{title: "Copies of IPv6", family: "ip6", rules: []string{"dup to 2001:db8::1", `dup to 2001:db8::1 device "br0"`}},
	{title: "Flowtables", sets: "flowtable ft { hook ingress priority filter; devices = { br0 }; }", rules: []string{"flow add @ft"}},
	{title: "Before connection tracking", chain: "type filter hook prerouting priority raw; policy accept;", rules: []string{
		"notrack", "ct zone set 5", "ct original zone set 5", "meta mark set 1", "meta pkttype set host", "fib saddr . iif oif missing drop", "tproxy to :1080",
	}},
	{title: "NAT, postrouting", chain: "type nat hook postrouting priority srcnat; policy accept;", rules: []string{
		"masquerade", "masquerade random", "masquerade fully-random,persistent", "meta l4proto tcp masquerade to :1024-65535",
		"snat ip to 192.0.2.1", "snat ip to 192.0.2.1-192.0.2.9 persistent", "meta l4proto udp snat ip to 192.0.2.1:1024-2047 random", "snat ip6 to 2001:db8::1",
		"snat ip prefix to ip saddr map { 10.0.0.0/24 : 192.0.2.0/24 }",
	}},
	{title: "NAT, prerouting", chain: "type nat hook prerouting priority dstnat; policy accept;", rules: []string{
		"tcp dport 80 dnat ip to 10.0.0.1", "tcp dport 80 dnat ip to 10.0.0.1:8080", "dnat ip to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }",
		"dnat ip to tcp dport map { 80 : 10.0.0.1 . 8080 }", "dnat ip prefix to ip daddr map { 192.0.2.0/24 : 10.0.0.0/24 }",
		"tcp dport 80 redirect", "tcp dport 80 redirect to :8080", "sctp dport 80 dnat ip to 10.0.0.1:8080", "udp dport 53 dnat ip6 to fd00::1",
	}},
	{title: "NAT, output", chain: "type nat hook output priority -100; policy accept;", rules: []string{
		"tcp dport 80 dnat ip to 10.0.0.1:8080", "dnat ip to 127.0.0.1", "udp dport 53 redirect to :5353", "redirect",
	}},
	{title: "meta", rules: []string{
		"meta length 64-1500", "meta nfproto ipv6", "meta l4proto { tcp, udp }", "meta protocol ip", "meta priority 1:2", "meta mark 0x1", "meta mark & 0xff == 1",
		"meta pkttype multicast", "meta cpu 0", "meta random < 5", `meta time > "2026-01-01"`, `meta day "Monday"`, `meta hour "08:00"-"18:00"`,
		`iif "br0"`, `oif "br0"`, `iifname "br*"`, `oifname { "br0", "wan0" }`, "iiftype ether", "oiftype ppp", `meta iifkind "bridge"`, `meta oifkind "vlan"`, "iifgroup 1", "oifgroup default",
		"meta rtclassid 1", "meta cgroup 1", "meta secpath exists", "meta sdif 7", "meta sdifname \"br0\"", "meta secmark 1",
	}},
	{title: "Of the host's own packets", chain: "type filter hook output priority filter; policy accept;", rules: []string{
		"meta skuid 0", "meta skgid 0", "socket cgroupv2 level 1 \"x\"", "reject", "ct mark set 1", "meta mark set 1", "notrack",
	}},
	{title: "Chains of the type route", chain: "type route hook output priority mangle; policy accept;", rules: []string{"meta mark set 1", "ip dscp set cs1", "ip daddr set 192.0.2.1"}},
	{title: "ct", rules: []string{
		"ct state established,related", "ct state vmap { new : accept, invalid : drop }", "ct status dnat", "ct status assured", "ct mark 0x1", "ct mark & 0xf0 == 0x10", "ct direction reply",
		"ct expiration > 10s", `ct helper "ftp"`, "ct label 5", "ct label set 5", "ct original l3proto ipv4", "ct original protocol tcp", "ct original ip saddr 10.0.0.1", "ct reply ip daddr 10.0.0.1",
		"ct original ip6 saddr fd00::1", "tcp dport 22 ct original proto-src 1000", "tcp sport 22 ct reply proto-dst 22", "ct original packets > 10", "ct bytes > 100", "ct avgpkt > 100", "ct zone 1", "ct id 1",
	}},
	{title: "Objects that rules give to flows", sets: `
		ct helper ftp { type "ftp" protocol tcp; l3proto ip; }
		ct timeout slow { protocol tcp; l3proto ip; policy = { established : 60 }; }
		ct expectation more { protocol udp; dport 9876; timeout 2m; size 12; l3proto ip; }
		synproxy cover { mss 1460; wscale 7; timestamp sack-perm; }`,
		rules: []string{`ct helper set "ftp"`, `ct timeout set "slow"`, `ct expectation set "more"`, `synproxy name "cover"`, `meta secmark set "label"`}},
	{title: "IPv4, IPv6", rules: []string{
		"ip version 4", "ip hdrlength 5", "ip dscp cs1", "ip ecn ce", "ip length 60", "ip id 1", "ip frag-off & 0x1fff != 0", "ip ttl < 5", "ip protocol icmp", "ip checksum 0", "ip saddr 10.0.0.0/8", "ip daddr { 10.0.0.1, 10.0.1.0/24 }",
		"ip option rr exists", "ip option lsrr ptr 4", "ip6 version 6", "ip6 dscp ef", "ip6 ecn ect1", "ip6 flowlabel 5", "ip6 length 60", "ip6 nexthdr tcp", "ip6 hoplimit 255", "ip6 saddr fe80::/10", "ip6 daddr != fd00::/8",
		"exthdr hbh exists", "exthdr rt missing", "rt type 0", "rt0 addr[1] fd00::1", "srh tag 5", "srh sid[1] fd00::1", "frag more-fragments 1", "frag id 5", "dst nexthdr 6", "hbh hdrlength 1", "mh type 5",
	}},
	{title: "Transport", rules: []string{
		"tcp sport 1024-65535", "tcp dport { 22, 80, 8000-8080 }", "tcp dport != 1-1023", "tcp sequence 1", "tcp ackseq 1", "tcp doff 5", "tcp reserved 0", "tcp flags & (fin | syn) == syn", "tcp flags syn / syn,ack", "tcp window > 100", "tcp checksum 1", "tcp urgptr 0",
		"tcp option maxseg size > 1400", "tcp option window exists", "tcp option sack0 left 1", "tcp option sack-perm missing", "tcp option timestamp tsval 1", "tcp option mptcp subtype 0", "tcp option 30 exists", "tcp option @3,0,8 3",
		"udp dport 53", "udp length 8-100", "udp checksum 0", "udplite dport 53", "sctp dport 36412", "sctp vtag 5", "sctp chunk init exists", "sctp chunk data type 0", "dccp type request", "dccp option 10 exists",
		"icmp type echo-request", "icmp code 0", "icmp id 5", "icmp sequence 1", "icmp mtu 1400", "icmp gateway 5", "icmpv6 type { nd-router-advert, echo-request }", "icmpv6 code 0", "icmpv6 mtu 1280", "icmpv6 id 5", "icmpv6 parameter-problem 1", "icmpv6 max-delay 5", "icmpv6 taddr fd00::1",
		"igmp type membership-query", "igmp group 224.0.0.1", "ah spi 1", "ah sequence 1", "esp spi 1-100", "comp cpi 1", "meta l4proto { tcp, udp } th dport 53", "gre protocol 0x800", "gre ip saddr 10.0.0.1", "udp dport 4789 vxlan vni 5", "udp dport 4789 vxlan ip saddr 10.0.0.1", "udp dport 6081 geneve vni 5",
		"gre ip6 saddr fd00::1", "gre tcp dport 22", "gretap ether saddr 00:11:22:33:44:55", "gretap ip saddr . gretap ip daddr { 10.0.0.1 . 10.0.0.2 }", "udp dport 4789 vxlan vlan id 5", "udp dport 4789 vxlan icmp type echo-request", "udp dport 6081 geneve ip6 saddr fd00::1", "udp dport 6081 geneve th dport { 53, 80 }",
	}},
	{title: "Link layer and raw", rules: []string{
		"ether saddr 00:11:22:33:44:55", "ether daddr { 00:11:22:33:44:55, 00:11:22:33:44:66 }", "ether type ip", "vlan id 5", "vlan pcp 1", "@ll,0,48 0x1", "@nh,0,8 0x45", "@nh,160,32 1", "@th,0,16 80", "@th,160,32 1",
	}},
	{title: "Of the host's routing", rules: []string{
		"fib daddr type local", "fib saddr type { broadcast, multicast }", "fib daddr . iif type local", "fib saddr . iif oif exists", "fib saddr oifname \"br0\"", "fib daddr . mark type local",
		"rt ip nexthop 10.0.0.1", "rt ip6 nexthop fd00::1", "rt mtu > 1400", "rt classid 1", "rt ipsec missing", "ipsec in reqid 1", "socket transparent 1", "osf name \"Linux\"",
	}},
	{title: "Sets, maps and computed values", sets: `
		set s { type ipv4_addr; }
		set nets { type ipv4_addr; flags interval; }
		set pairs { type ipv4_addr . inet_service; }
		set ranges { type ipv4_addr . inet_service; flags interval; }
		set banned { type ipv4_addr; flags dynamic, timeout; timeout 1h; size 1000; }
		set busy { type ipv4_addr; flags dynamic; size 1000; }
		set counted { type ipv4_addr; counter; }
		map verdicts { type inet_service : verdict; }
		map marks { type ipv4_addr : mark; }
		map forwards { type inet_service : ipv4_addr . inet_service; }
		map seen { type ipv4_addr : mark; flags dynamic; size 1000; }
		map hits { type ipv4_addr : counter; }`,
		rules: []string{
			"ip saddr @s", "ip saddr != @nets", "ip saddr . tcp dport @pairs", "ip saddr . tcp dport @ranges", "ip saddr . tcp dport { 10.0.0.0/8 . 1-1023, 10.1.1.1 . 8080 }", "ip saddr @counted",
			"tcp dport vmap @verdicts", "ip saddr vmap { 10.0.0.0/8 : accept, * : drop }", "ip saddr . tcp dport vmap { 10.0.0.1 . 22 : accept }", "iifname vmap { \"br*\" : accept }", "ip saddr { 10.0.0.1, * }",
			"meta mark set ip saddr map @marks", "meta mark set ip saddr map { 10.0.0.0/8 : 1, 11.1.1.1-11.1.1.9 : 2 }", "meta mark set tcp dport map { 22 : 1, * : 2 }",
			"add @banned { ip saddr }", "update @banned { ip saddr timeout 5m }", "delete @banned { ip saddr }", "update @busy { ip saddr limit rate over 5/second } drop", "add @busy { ip saddr ct count over 20 } drop", "update @busy { ip saddr counter }",
			"update @seen { ip saddr : meta mark }", "counter name ip saddr map @hits",
			"meta mark set meta mark | 0x1", "meta mark set meta mark & 0xff", "ct mark set meta mark << 8", "numgen inc mod 3 == 0", "numgen random mod 10 offset 5 < 8", "meta mark set jhash ip saddr . tcp sport mod 4 seed 0xdeadbeef", "meta mark set symhash mod 2", "meta mark set numgen inc mod 2 map { 0 : 1, 1 : 2 }",
		}},
	{title: "Family netdev, ingress", family: "netdev", chain: "type filter hook ingress device br0 priority filter; policy accept;", rules: []string{
		"accept", "drop", "ip saddr 10.0.0.1", "tcp dport 22", "ether type arp", "arp operation request", "vlan id 5", "meta mark set 1", `fwd to "br0"`, `fwd ip to 10.0.0.1 device "br0"`, `dup to "br0"`, "limit rate 5/second", "reject", "reject with tcp reset",
	}},
	{title: "Family netdev, egress", family: "netdev", chain: "type filter hook egress device br0 priority filter; policy accept;", rules: []string{
		"accept", "drop", "ip saddr 10.0.0.1", "meta mark set 1", `dup to "br0"`, `fwd to "br0"`, `fwd ip6 to fd00::1 device "br0"`,
	}},
	{title: "Ingress of family inet", chain: "type filter hook ingress device br0 priority filter; policy accept;", rules: []string{"accept", "ip saddr 10.0.0.1 drop", "reject"}},
	{title: "Other families", family: "bridge", rules: []string{"accept"}},
	{title: "ARP", family: "arp", chain: "type filter hook input priority filter; policy accept;", rules: []string{"accept", "arp operation request drop"}},
}
