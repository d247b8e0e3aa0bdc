// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/located"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// least is the smallest valid file. Cases append to it or replace it.
const least = `dataplane:
  ruleset: firewall.nft
  interfaces:
    - name: wan0
    - name: br0
`

// TestByteOrderMark: a file that begins with one is read as any other.
func TestByteOrderMark(t *testing.T) {
	if _, err := Parse("f", []byte("\ufeff"+least)); err != nil {
		t.Error(err)
	}
	if _, err := Parse("f", []byte("\ufeff"+least+"nosuch: 1\n")); err == nil || !strings.HasPrefix(err.Error(), "f:6:1: nosuch") {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	cfg, err := Parse("/etc/l2d/l2d.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if cfg.Dataplane.Ruleset != "/etc/l2d/firewall.nft" {
		t.Errorf("ruleset %q is not relative to the file", cfg.Dataplane.Ruleset)
	}
	if cfg.Dataplane.PinPath != "/sys/fs/bpf/l2d" || cfg.Control.Socket != "/run/l2d/l2d.sock" {
		t.Errorf("paths: %+v %+v", cfg.Dataplane, cfg.Control)
	}
	if cfg.Conntrack != want.Conntrack || !reflect.DeepEqual(cfg.NAT, want.NAT) || cfg.Log != want.Log || cfg.Metrics.Listen != "" {
		t.Errorf("got %+v, want the defaults %+v", cfg, want)
	}
	if len(cfg.Dataplane.Interfaces) != 2 || cfg.Dataplane.Interfaces[1].Name != "br0" || cfg.Dataplane.Interfaces[0].XDP != XDPAuto {
		t.Errorf("interfaces: %+v", cfg.Dataplane.Interfaces)
	}
}

func TestEveryKey(t *testing.T) {
	src := `
dataplane:
  ruleset: /srv/rules.nft
  pin_path: /sys/fs/bpf/other
  interfaces: [{name: wan0, xdp: native, aqm: true}, {name: wl0, xdp: off, optional: true}]
conntrack:
  max_flows: 1
  max_half_open: 16777216
  max_flows_per_source: 4000
  timeouts:
    tcp_syn_sent: 1s
    tcp_syn_recv: 2s
    tcp_established: 3h
    tcp_fin_wait: 4s
    tcp_close_wait: 5s
    tcp_last_ack: 6s
    tcp_time_wait: 7s
    tcp_close: 8s
    tcp_unacknowledged: 9m
    tcp_retransmitted: 13m
    udp_unreplied: 10s
    udp_stream: 11s
    sctp_closed: 21s
    sctp_cookie_wait: 22s
    sctp_cookie_echoed: 23s
    sctp_established: 24s
    sctp_shutdown_sent: 25s
    sctp_shutdown_recd: 26s
    sctp_shutdown_ack_sent: 27s
    sctp_heartbeat_sent: 28s
    icmp: 12s
    generic: 8760h
nat: {log: true, log_destinations: true, log_rate: 17, mapping: address-dependent, filtering: endpoint-dependent, port_range: [1024, 65535], reserved_ports: [51820, 500], port_rest: 120s}
host:
  state_dir: /srv/state
  sysctl:
    net.ipv4.ip_forward: 1
    net/ipv4/tcp_rmem: 1 2 3
    net.ipv4.conf.*.rp_filter: {value: "-1", enforce: true}
  nics:
    eth0: {mtu: 9000, enforce: true, optional: true, rings: {rx: 8184, tx-push: true}, features: {rx-lro: false, rx-gro: true}}
    eth1:
      channels: {combined: 8}
      coalesce: {adaptive-rx: false, rx-usecs: 0}
      eee: {enabled: false, tx-timer: 17}
      private_flags: {disable-fw-lldp: true}
      fec: [rs, baser]
      wol: off
      rss: {key: "6d:5A:00", queues: "0-2,5"}
control: {socket: /tmp/x.sock}
metrics: {listen: "[::1]:9465"}
log: {level: debug, format: json}
`
	cfg, err := Parse("l2d.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	s := time.Second
	want := flow.Timeouts{
		TCPSynSent:          1 * s,
		TCPSynRecv:          2 * s,
		TCPEstablished:      3 * time.Hour,
		TCPFinWait:          4 * s,
		TCPCloseWait:        5 * s,
		TCPLastAck:          6 * s,
		TCPTimeWait:         7 * s,
		TCPClose:            8 * s,
		TCPUnacknowledged:   9 * time.Minute,
		TCPRetransmitted:    13 * time.Minute,
		UDPUnreplied:        10 * s,
		UDPStream:           11 * s,
		SCTPClosed:          21 * s,
		SCTPCookieWait:      22 * s,
		SCTPCookieEchoed:    23 * s,
		SCTPEstablished:     24 * s,
		SCTPShutdownSent:    25 * s,
		SCTPShutdownRecd:    26 * s,
		SCTPShutdownAckSent: 27 * s,
		SCTPHeartbeatSent:   28 * s,
		ICMP:                12 * s,
		Generic:             8760 * time.Hour,
	}
	if cfg.Conntrack.Timeouts != want {
		t.Errorf("timeouts %+v, want %+v", cfg.Conntrack.Timeouts, want)
	}
	if cfg.Conntrack.MaxFlows != 1 || cfg.Conntrack.MaxHalfOpen != 16777216 || cfg.Conntrack.MaxFlowsPerSource != 4000 {
		t.Errorf("limits %+v", cfg.Conntrack)
	}
	if !reflect.DeepEqual(cfg.NAT, NAT{true, true, 17, flow.NATSettings{
		Mapping: flow.AddressDependent, Filtering: flow.EndpointDependent, PortRange: [2]uint16{1024, 65535}, ReservedPorts: []uint16{51820, 500}, PortRest: 120 * time.Second,
	}}) {
		t.Errorf("NAT %+v", cfg.NAT)
	}
	if h := cfg.Host; h.StateDir != "/srv/state" || len(h.Sysctls) != 3 || h.Sysctls[0].Value != "1" || h.Sysctls[1].Value != "1 2 3" ||
		h.Sysctls[2].Name != "net.ipv4.conf.*.rp_filter" || h.Sysctls[2].Value != "-1" || !h.Sysctls[2].Enforce {
		t.Errorf("host %+v", h)
	}
	if n := cfg.Host.NICs; len(n) != 2 || n[0].Name != "eth0" || n[0].MTU != 9000 || !n[0].Enforce || !n[0].Optional || n[1].Optional ||
		!reflect.DeepEqual(n[0].Settings, map[string]map[string]uint32{"rings": {"rx": 8184, "tx-push": 1}}) ||
		!reflect.DeepEqual(n[0].Features, map[string]bool{"rx-lro": false, "rx-gro": true}) ||
		!reflect.DeepEqual(n[1].Settings, map[string]map[string]uint32{"channels": {"combined": 8}, "coalesce": {"adaptive-rx": 0, "rx-usecs": 0}, "eee": {"enabled": 0, "tx-timer": 17}}) ||
		!n[1].PrivateFlags["disable-fw-lldp"] || !slices.Equal(n[1].FEC, []string{"rs", "baser"}) || !slices.Equal(n[1].WoL, []string{"off"}) ||
		n[1].RSS.Key != "6d:5A:00" || !slices.Equal(n[1].RSS.Queues, []uint32{0, 1, 2, 5}) || n[0].WoL != nil || n[0].RSS != nil {
		t.Errorf("NICs %+v", n)
	}
	i := cfg.Dataplane.Interfaces
	if i[0].XDP != XDPNative || !i[0].AQM || i[0].Optional || i[1].XDP != XDPOff || i[1].AQM || !i[1].Optional {
		t.Errorf("interfaces %+v", i)
	}
	if cfg.Dataplane.Ruleset != "/srv/rules.nft" || cfg.Dataplane.PinPath != "/sys/fs/bpf/other" ||
		cfg.Control.Socket != "/tmp/x.sock" || cfg.Metrics.Listen != "[::1]:9465" || cfg.Log != (Log{LogDebug, LogJSON}) {
		t.Errorf("got %+v", cfg)
	}
}

// problem is what a case expects of one Error.
type problem struct {
	line, column int
	key          string
	text         string // part of the whole message
}

func TestBadInput(t *testing.T) {
	cases := []struct {
		name string
		src  string
		want []problem
	}{
		{"unknown key at the top", least + "conntrak: {}\n",
			[]problem{{6, 1, "conntrak", "unknown key: want one of conntrack, control, dataplane, host, log, metrics"}}},
		{"unknown key in a section", "dataplane:\n  rulset: x\n",
			[]problem{{2, 3, "dataplane.rulset", "want one of cpus, interfaces, mark_ect1, mirror, ntuple, pin_path, reevaluate, ruleset, sets"}}},
		{"unknown key of an interface", "dataplane:\n  ruleset: x\n  interfaces:\n    - name: a\n      speed: 10\n",
			[]problem{{5, 7, "dataplane.interfaces[0].speed", "want one of aqm, name, optional, xdp"}}},
		{"filtering wider than mapping", least + "nat:\n  mapping: address-dependent\n  filtering: endpoint-independent\n",
			[]problem{{8, 14, "nat.filtering", "want address-dependent, or a wider mapping"}}},
		{"mapping of no kind", least + "nat:\n  mapping: full-cone\n",
			[]problem{{7, 12, "nat.mapping", "want endpoint-independent, address-dependent or endpoint-dependent"}}},
		{"rest of ports that are nobody's", least + "nat:\n  port_rest: 120s\n  mapping: endpoint-dependent\n",
			[]problem{{7, 14, "nat.port_rest", "want a wider mapping, or no port_rest"}}},
		{"range of one port", least + "nat:\n  port_range: [1024]\n",
			[]problem{{7, 15, "nat.port_range", "want the first and the last port"}}},
		{"range backwards", least + "nat:\n  port_range: [2000, 1000]\n",
			[]problem{{7, 15, "nat.port_range", "want the first and the last port"}}},
		{"port 0", least + "nat:\n  reserved_ports: [1, 0]\n",
			[]problem{{7, 23, "nat.reserved_ports[1]", "from 1 to 65535"}}},
		{"unknown timeout", least + "conntrack: {timeouts: {sctp: 10s}}\n",
			[]problem{{6, 24, "conntrack.timeouts.sctp", "unknown key"}}},
		{"key given twice", least + "log: {level: info}\nlog: {level: debug}\n",
			[]problem{{7, 1, "", ""}}},
		{"text where a number belongs", least + "conntrack:\n  max_flows: many\n",
			[]problem{{7, 14, "conntrack.max_flows", `"many": want a whole number from 1 to 16777216`}}},
		{"quoted number", least + "conntrack:\n  max_flows: \"10\"\n",
			[]problem{{7, 14, "conntrack.max_flows", "want a whole number"}}},
		{"float", least + "conntrack:\n  max_flows: 1.5\n",
			[]problem{{7, 14, "conntrack.max_flows", `"1.5": want a whole number`}}},
		{"number with a leading zero", least + "conntrack:\n  max_flows: 010\n",
			[]problem{{7, 14, "conntrack.max_flows", `"010": want a whole number`}}},
		{"number with an underscore", least + "conntrack:\n  max_flows: 1_000\n",
			[]problem{{7, 14, "conntrack.max_flows", `want a whole number`}}},
		{"map limit of 0", least + "conntrack:\n  max_flows: 0\n  max_half_open: 0\n",
			[]problem{{7, 14, "conntrack.max_flows", `"0": want a whole number from 1`}, {8, 18, "conntrack.max_half_open", `"0": want`}}},
		{"map limit too large", least + "conntrack:\n  max_flows: 16777217\n",
			[]problem{{7, 14, "conntrack.max_flows", "to 16777216"}}},
		{"map limit over 32 bits", least + "conntrack:\n  max_flows: 4294967297\n",
			[]problem{{7, 14, "conntrack.max_flows", "to 16777216"}}},
		{"negative limit", least + "conntrack:\n  max_flows: -1\n",
			[]problem{{7, 14, "conntrack.max_flows", `"-1": want`}}},
		{"duration without a unit", least + "conntrack:\n  timeouts:\n    icmp: 30\n",
			[]problem{{8, 11, "conntrack.timeouts.icmp", `"30": want a duration in whole seconds from 1s to 8760h, such as 30s`}}},
		{"duration of 0", least + "conntrack:\n  timeouts:\n    icmp: 0s\n",
			[]problem{{8, 11, "conntrack.timeouts.icmp", `"0s": want`}}},
		{"duration under a second", least + "conntrack:\n  timeouts:\n    icmp: 1500ms\n",
			[]problem{{8, 11, "conntrack.timeouts.icmp", `"1500ms": want`}}},
		{"duration too long", least + "conntrack:\n  timeouts:\n    icmp: 8761h\n",
			[]problem{{8, 11, "conntrack.timeouts.icmp", `"8761h": want`}}},
		{"bad address", least + "metrics:\n  listen: 127.0.0.256:9465\n",
			[]problem{{7, 11, "metrics.listen", `"127.0.0.256:9465": want an IP address and a port`}}},
		{"host name for an address", least + "metrics:\n  listen: localhost:9465\n",
			[]problem{{7, 11, "metrics.listen", `want an IP address and a port`}}},
		{"address without a port", least + "metrics:\n  listen: \"::1\"\n",
			[]problem{{7, 11, "metrics.listen", `want an IP address and a port`}}},
		{"port 0", least + "metrics:\n  listen: \"[::1]:0\"\n",
			[]problem{{7, 11, "metrics.listen", `want an IP address and a port`}}},
		{"text where a truth value belongs", "dataplane:\n  ruleset: x\n  interfaces:\n    - name: a\n      aqm: yes\n",
			[]problem{{5, 12, "dataplane.interfaces[0].aqm", `"yes": want true or false`}}},
		{"XDP mode that does not exist", "dataplane:\n  ruleset: x\n  interfaces: [{name: a, xdp: generic}]\n",
			[]problem{{3, 31, "dataplane.interfaces[0].xdp", `"generic": want auto, native or off`}}},
		{"truth value for an XDP mode", "dataplane:\n  ruleset: x\n  interfaces: [{name: a, xdp: false}]\n",
			[]problem{{3, 31, "dataplane.interfaces[0].xdp", `"false": want auto, native or off`}}},
		{"interface name too long", "dataplane:\n  ruleset: x\n  interfaces: [{name: abcdefghijklmnop}]\n",
			[]problem{{3, 23, "dataplane.interfaces[0].name", `want an interface name of 1 to 15 characters`}}},
		{"interface name with a slash", "dataplane:\n  ruleset: x\n  interfaces: [{name: a/b}]\n",
			[]problem{{3, 23, "dataplane.interfaces[0].name", `"a/b"`}}},
		{"loopback device", "dataplane:\n  ruleset: x\n  interfaces: [{name: lo}]\n",
			[]problem{{3, 23, "dataplane.interfaces[0].name", "other than lo"}}},
		{"interface twice", "dataplane:\n  ruleset: x\n  interfaces:\n    - name: a\n    - name: b\n    - name: a\n",
			[]problem{{6, 13, "dataplane.interfaces[2].name", "listed twice, first on line 4"}}},
		{"interface without a name", "dataplane:\n  ruleset: x\n  interfaces:\n    - aqm: true\n",
			[]problem{{4, 7, "dataplane.interfaces[0].name", "is missing"}}},
		{"interfaces not a list", "dataplane:\n  ruleset: x\n  interfaces: eth0\n",
			[]problem{{3, 15, "dataplane.interfaces", `"eth0": want a list of interfaces`}}},
		{"interface not a mapping", "dataplane:\n  ruleset: x\n  interfaces: [eth0]\n",
			[]problem{{3, 16, "dataplane.interfaces[0]", `"eth0": want a mapping with the keys aqm, name`}}},
		{"no interface", "dataplane:\n  ruleset: x\n  interfaces: []\n",
			[]problem{{2, 3, "dataplane.interfaces", "is missing"}}},
		{"no ruleset", "dataplane:\n  interfaces: [{name: a}]\n",
			[]problem{{2, 3, "dataplane.ruleset", "is missing: want the path of an nftables file, or kernel"}}},
		{"no dataplane", "log: {level: info}\n",
			[]problem{{1, 1, "dataplane.ruleset", "is missing"}, {1, 1, "dataplane.interfaces", "is missing"}}},
		{"section without a value", least + "log:\n",
			[]problem{{6, 1, "log", "has no value"}}},
		{"section of the wrong type", least + "conntrack: 12\n",
			[]problem{{6, 12, "conntrack", `"12": want a mapping with the keys accounting, max_flows, max_flows_per_source, max_half_open, tcp_be_liberal, tcp_ignore_invalid_rst, tcp_loose, tcp_max_retrans, timeouts`}}},
		{"limit of lines", least + "nat:\n  log_rate: 0\n",
			[]problem{{7, 13, "nat.log_rate", `"0": want a whole number from 1 to 1000000`}}},
		{"NAT log below its level", least + "nat: {log: true}\nlog:\n  level: warn\n",
			[]problem{{8, 3, "log", "level warn leaves out what nat.log writes: want level info or debug"}}},
		{"sysctl without a name", least + "host: {sysctl: {forward: 1}}\n",
			[]problem{{6, 17, "host.sysctl", `"forward": want a name such as net.ipv4.ip_forward`}}},
		{"sysctl with part of a pattern", least + "host: {sysctl: {net.ipv4.conf.eth*.rp_filter: 1}}\n",
			[]problem{{6, 17, "host.sysctl", "or a pattern such as"}}},
		{"sysctl with an octal number", least + "host: {sysctl: {vm.x: 010}}\n",
			[]problem{{6, 23, "host.sysctl.vm.x", `"010": want a number in decimal digits`}}},
		{"sysctl that is a truth value", least + "host: {sysctl: {vm.x: true}}\n",
			[]problem{{6, 23, "host.sysctl.vm.x", `"true": want a number`}}},
		{"sysctl without a value", least + "host:\n  sysctl:\n    vm.x:\n    vm.y: {enforce: true}\n",
			[]problem{{8, 5, "host.sysctl.vm.x", "has no value"}, {9, 11, "host.sysctl.vm.y.value", "is missing"}}},
		{"sysctl out of its directory", least + "host: {sysctl: {net/../x: 1}}\n",
			[]problem{{6, 17, "host.sysctl", "want a name"}}},
		{"setting of a NIC that does not exist", least + "host: {nics: {eth0: {rings: {rz: 1}, speed: 10}}}\n",
			[]problem{{6, 30, "host.nics.eth0.rings.rz", "unknown key: want one of cqe-size, hds-thresh, rx,"}, {6, 38, "host.nics.eth0.speed", "want one of aqm, channels, coalesce, eee, enforce, features, fec, irqs, mtu, optional, pause, private_flags, rings, rps, rss, threaded, threads, wol, xps"}}},
		{"queues of a radio", least + "host: {nics: {w: {aqm: {aql: {low: 9, high: 8}, airtime: [tx, tx, all], limit: 0}}, x: {aqm: {aql: {be: {low: 5}, low: 1}}}, y: {aqm: {aql_threshold: 2s}}}}\n",
			[]problem{
				{6, 30, "host.nics.w.aqm.aql", "high is not below low: want limits in µs"}, {6, 63, "host.nics.w.aqm.airtime[1]", `"tx": given twice`},
				{6, 67, "host.nics.w.aqm.airtime[2]", `"all": want tx or rx`}, {6, 80, "host.nics.w.aqm.limit", `"0": want a whole number from 1`},
				{6, 105, "host.nics.x.aqm.aql.be", "both limits are needed"}, {6, 115, "host.nics.x.aqm.aql.low", "unknown key: want one of be, bk, vi, vo"},
				{6, 151, "host.nics.y.aqm.aql_threshold", `"2s": want a whole number`},
			}},
		{"ring that is none", least + "host: {nics: {eth0: {rings: {rx: many, tx-push: 1}}}}\n",
			[]problem{{6, 34, "host.nics.eth0.rings.rx", `"many": want a whole number from 0`}, {6, 49, "host.nics.eth0.rings.tx-push", `"1": want true or false`}}},
		{"feature that is neither on nor off", least + "host: {nics: {eth0: {features: {rx-lro: 1}}}}\n",
			[]problem{{6, 41, "host.nics.eth0.features.rx-lro", `"1": want true or false`}}},
		{"MTU below IPv4's", least + "host: {nics: {eth0: {mtu: 67}}}\n",
			[]problem{{6, 27, "host.nics.eth0.mtu", `"67": want a whole number from 68 to 65535`}}},
		{"modes that are none", least + "host: {nics: {eth0: {wol: [magic, sleep], fec: [off, rs], private_flags: {legacy-rx: 1}, eee: {enabled: 1}}}}\n",
			[]problem{{6, 35, "host.nics.eth0.wol[1]", `"sleep": want off, or some of arp, bcast`}, {6, 48, "host.nics.eth0.fec", `want off, or some of auto, baser, llrs, rs`},
				{6, 86, "host.nics.eth0.private_flags.legacy-rx", "want true or false"}, {6, 105, "host.nics.eth0.eee.enabled", "want true or false"}}},
		{"hash table that is none", least + "host: {nics: {eth0: {rss: {key: 6d5a, queues: 3-1}}}}\n",
			[]problem{{6, 33, "host.nics.eth0.rss.key", `"6d5a": want bytes in hexadecimal`}, {6, 47, "host.nics.eth0.rss.queues", `"3-1": 1 is before 3: want queues, such as 0-7`}}},
		{"rules of ntuple that are none", "dataplane:\n  ruleset: x\n  interfaces: [{name: a}]\n  ntuple:\n    - {match: {proto: tcpx, dport: 0}, action: accept}\n    - {match: {dport: 5}, action: drop}\n    - {match: {proto: tcp4, src: \"::1\"}, action: drop}\n    - {match: {src: 10.0.0.1/8, vlan: 4095}, action: queue x}\n    - {match: {}, action: drop}\n    - {match: {proto: udp}}\n",
			[]problem{{5, 23, "dataplane.ntuple[0].match.proto", `"tcpx": want tcp, udp, sctp, with a 4 or 6`}, {5, 36, "dataplane.ntuple[0].match.dport", "from 1 to 65535"}, {5, 48, "dataplane.ntuple[0].action", `"accept": want drop, queue N, or cpu N`},
				{6, 23, "dataplane.ntuple[1].match.dport", "a port of no protocol that has them"}, {7, 23, "dataplane.ntuple[2].match.proto", "addresses of another family"},
				{8, 21, "dataplane.ntuple[3].match.src", "want an address or a prefix"}, {8, 39, "dataplane.ntuple[3].match.vlan", "from 1 to 4094"}, {8, 54, "dataplane.ntuple[3].action", `"x" is no whole number`},
				{9, 7, "dataplane.ntuple[4]", "drops all packets"}, {10, 7, "dataplane.ntuple[5].action", "is missing"}}},
		{"rules of ntuple of the same packets", "dataplane:\n  ruleset: x\n  interfaces: [{name: a}]\n  ntuple:\n    - {match: {proto: tcp, dport: 5}, action: drop}\n    - {match: {proto: tcp6, dport: 5}, action: cpu 1}\n    - {match: {proto: udp}, action: drop, interfaces: [b]}\n",
			[]problem{{6, 7, "dataplane.ntuple[1]", "matches tcp6 dport 5 of a, as the rule on line 5 does"}, {7, 7, "dataplane.ntuple[2].interfaces", `"b": want some of dataplane.interfaces: a`}}},
		{"NIC twice", least + "host:\n  nics:\n    eth0: {mtu: 1500}\n    eth0: {mtu: 1500}\n",
			[]problem{{9, 5, "", ""}}},
		{"link of which nothing is said", least + "host: {links: {eth0: {enforce: true}}}\n",
			[]problem{{6, 16, "host.links.eth0", "nothing is declared of it: want a kind, or addresses"}}},
		{"VLAN without a parent and a number", least + "host: {links: {v: {kind: vlan}, w: {kind: vlan, parent: a}}}\n",
			[]problem{{6, 16, "host.links.v.parent", "is missing"}, {6, 33, "host.links.w.id", "is missing: want a whole number from 1 to 4094"}}},
		{"members of no bridge", least + "host: {links: {d: {kind: dummy, members: [a]}, e: {addresses: [10.0.0.1/8], id: 3}}}\n",
			[]problem{{6, 16, "host.links.d.kind", "members and options are of a bridge"}, {6, 48, "host.links.e.kind", "parent, id and protocol are of a VLAN"}}},
		{"addresses that are none", least + "host: {links: {e: {addresses: [10.0.0.1, 10.0.0.1/8, 10.0.0.1/8, fe80::1%e/64]}}}\n",
			[]problem{{6, 32, "host.links.e.addresses[0]", `"10.0.0.1": want an address and the length`}, {6, 54, "host.links.e.addresses[2]", "given twice"}, {6, 66, "host.links.e.addresses[3]", "want an address"}}},
		{"option of a bridge that does not exist", least + "host: {links: {b: {kind: bridge, options: {spt: true}}}}\n",
			[]problem{{6, 44, "host.links.b.options.spt", "want one of multicast_snooping, stp, vlan_filtering"}}},
		{"value of an anchor that is not there", least + "host: {nics: {a: *x, b: &x {mtu: 67}, c: *x}}\n",
			[]problem{{6, 18, "host.nics.a", `"*x": no such anchor: want one that stands before it`}, {6, 34, "host.nics.b.mtu", "want a whole number"}, {6, 34, "host.nics.c.mtu", "want a whole number"}}},
		{"relative socket", least + "control:\n  socket: l2d.sock\n",
			[]problem{{7, 11, "control.socket", "want an absolute path"}}},
		{"socket path too long", least + "control:\n  socket: /" + strings.Repeat("a", 107) + "\n",
			[]problem{{7, 11, "control.socket", "at most 107 bytes"}}},
		{"relative pin path", "dataplane:\n  ruleset: x\n  pin_path: l2d\n  interfaces: [{name: a}]\n",
			[]problem{{3, 13, "dataplane.pin_path", "want an absolute path on a bpffs"}}},
		{"log level", least + "log:\n  level: loud\n",
			[]problem{{7, 10, "log.level", `"loud": want debug, info, warn or error`}}},
		{"log format", least + "log:\n  format: xml\n",
			[]problem{{7, 11, "log.format", `"xml": want auto, text or json`}}},
		{"alias", least + "log: &a {level: info}\nmetrics: *a\n",
			[]problem{{6, 10, "metrics.level", "unknown key: want one of listen"}}},
		{"second document", least + "---\n" + least,
			[]problem{{7, 1, "", "a second document"}}},
		{"empty file", "",
			[]problem{{1, 1, "", "is empty"}}},
		{"comments alone", "# nothing\n",
			[]problem{{1, 1, "", "is empty"}}},
		{"not YAML", "dataplane: [\n",
			[]problem{{1, 12, "", "not YAML"}}},
		{"a tab for indentation", "dataplane:\n\truleset: x\n",
			[]problem{{2, 1, "", "not YAML"}}},
		{"a list for a file", "- a\n",
			[]problem{{1, 1, "", "want a mapping with the keys"}}},
		{"several problems, all reported", least + "conntrack:\n  max_flows: 0\nlog:\n  level: loud\nextra: 1\n",
			[]problem{{7, 14, "conntrack.max_flows", ""}, {9, 10, "log.level", ""}, {10, 1, "extra", ""}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Parse("/x/l2d.yaml", []byte(c.src))
			if err == nil {
				t.Fatalf("accepted: %+v", cfg)
			}
			list := problems(t, err)
			if len(list) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(list), len(c.want), err)
			}
			for i, w := range c.want {
				e := list[i]
				if e.File != "/x/l2d.yaml" || e.Line != w.line || e.Column != w.column || e.Key != w.key {
					t.Errorf("at %s:%d:%d key %q, want %d:%d %q\n%v", e.File, e.Line, e.Column, e.Key, w.line, w.column, w.key, e)
				}
				if !strings.Contains(e.Error(), w.text) {
					t.Errorf("%q does not say %q", e.Error(), w.text)
				}
				if strings.Contains(e.Error(), "\n") {
					t.Errorf("more than one line: %q", e.Error())
				}
			}
		})
	}
}

func TestMissingInterfaces(t *testing.T) {
	cfg, err := Parse("/x/l2d.yaml", []byte(least+"    - {name: usb0, optional: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.MissingInterfaces([]string{"lo", "br0", "wan0"}); err != nil {
		t.Errorf("all there but an optional one: %v", err)
	}
	err = cfg.MissingInterfaces([]string{"lo", "br0", "eth7"})
	want := `/x/l2d.yaml:4:13: dataplane.interfaces[0].name: "wan0": no such interface: want one of br0, eth7, or optional: true for one that may appear later`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// problems takes an error of a file apart.
func problems(t *testing.T, err error) (list List) {
	t.Helper()
	for _, err := range located.Split(err) {
		var e Error
		if !errors.As(err, &e) {
			t.Fatalf("%T is not an Error: %v", err, err)
		}
		list = append(list, e)
	}
	return list
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l2d.yaml")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	list := problems(t, err)
	if len(list) != 1 || list[0].Line != 2 || list[0].Column != 12 || list[0].Key != "dataplane.ruleset" {
		t.Errorf("ruleset that does not exist: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "firewall.nft"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

// TestExamples keeps the files that are shown to users valid.
func TestExamples(t *testing.T) {
	for _, name := range []string{"l2", "hardened"} {
		if _, err := Load(filepath.Join("..", "..", "examples", name, "l2d.yaml")); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(least)
	f.Add(least + "conntrack: {max_flows: 0, timeouts: {icmp: 30}}\n")
	f.Add("dataplane: {ruleset: x, interfaces: [{name: a, xdp: off}]}")
	f.Add("a: &x [1, *x]\n---\n? b\n: !!str c\n")
	f.Fuzz(func(t *testing.T, src string) {
		cfg, err := Parse("/f/l2d.yaml", []byte(src))
		if err != nil {
			problems(t, err)
			return
		}
		if cfg.Dataplane.Ruleset == "" || len(cfg.Dataplane.Interfaces) == 0 {
			t.Fatalf("accepted without a ruleset or interface: %+v", cfg.Dataplane)
		}
		seen := map[string]bool{}
		for _, i := range cfg.Dataplane.Interfaces {
			if !isInterfaceName(i.Name) || seen[i.Name] {
				t.Fatalf("accepted interface %q", i.Name)
			}
			seen[i.Name] = true
			if i.XDP != XDPAuto && i.XDP != XDPNative && i.XDP != XDPOff {
				t.Fatalf("accepted xdp %q", i.XDP)
			}
		}
		ct := cfg.Conntrack
		if ct.MaxFlows < MinFlows || ct.MaxFlows > MaxFlows || ct.MaxHalfOpen < MinFlows || ct.MaxHalfOpen > MaxFlows {
			t.Fatalf("accepted limits %+v", ct)
		}
		for _, d := range []time.Duration{ct.Timeouts.ICMP, ct.Timeouts.Generic, ct.Timeouts.TCPEstablished, ct.Timeouts.UDPStream} {
			if d < MinTimeout || d > MaxTimeout || d%time.Second != 0 {
				t.Fatalf("accepted timeout %v", d)
			}
		}
		if !isListen(cfg.Metrics.Listen) || !isSocketPath(cfg.Control.Socket) || !isCleanAbs(cfg.Dataplane.PinPath) {
			t.Fatalf("accepted %+v", cfg)
		}
	})
}

// TestTimeoutsOfRFCs: the settings that docs/rfc-compliance.md gives are accepted,
// and what the RFCs ask for.
func TestTimeoutsOfRFCs(t *testing.T) {
	page, err := os.ReadFile("../../docs/rfc-compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("no settings there")
	}
	cfg, err := Parse("l2d.yaml", []byte(least+block))
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Conntrack.Timeouts
	const transitory = 4 * time.Minute // RFC 5382, 5 and RFC 7857, 2.1 and 2.2
	for name, c := range map[string]struct{ got, want time.Duration }{
		"tcp_syn_sent":    {got.TCPSynSent, transitory},
		"tcp_syn_recv":    {got.TCPSynRecv, transitory},
		"tcp_established": {got.TCPEstablished, 2*time.Hour + 4*time.Minute},
		"tcp_fin_wait":    {got.TCPFinWait, transitory},
		"tcp_close_wait":  {got.TCPCloseWait, transitory},
		"tcp_last_ack":    {got.TCPLastAck, transitory},
		"tcp_time_wait":   {got.TCPTimeWait, transitory},
		"tcp_close":       {got.TCPClose, transitory},
		"udp_unreplied":   {got.UDPUnreplied, 2 * time.Minute}, // RFC 4787, 5
		"udp_stream":      {got.UDPStream, 5 * time.Minute},    // RFC 4787, 5c
		"icmp":            {got.ICMP, time.Minute},             // RFC 5508, 2
	} {
		if c.got < c.want {
			t.Errorf("%s: %v, less than %v", name, c.got, c.want)
		}
	}
}
