// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/explain"
)

// watchedPackets are drops of all kinds.
func watchedPackets(t *testing.T) []api.Watched {
	t.Helper()
	at := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	frame := func(text string) []byte {
		p, err := explain.ParsePacket(text)
		if err != nil {
			t.Fatal(err)
		}
		return p.Frame(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))
	}
	rule := &api.Rule{Family: "inet", Table: "filter", Chain: "forward", Handle: 4, Text: "tcp dport 25 drop", Line: 7}
	packet := func(kind string, p api.Packet) api.Watched { return api.Watched{Kind: kind, Time: at, Packet: &p} }
	nat := frame("udp 198.51.7.1:40000 > 1.1.1.1:53")
	return []api.Watched{
		packet(api.WatchDrops, api.Packet{Fate: api.PacketDropped, Reason: "drop_policy", Rule: rule, Interface: "lan0", Ethernet: true, Length: 54, Data: frame("tcp 192.168.7.2:40000 > 1.1.1.1:25 syn")}),
		packet(api.WatchDrops, api.Packet{Fate: api.PacketDropped, Reason: "drop_martian", Interface: "wg0", Length: 1400, Data: frame("udp [fd00::1]:5 > [2001:db8::1]:6")[14:]}),
		packet(api.WatchDrops, api.Packet{Fate: api.PacketDropped, Interface: "lan0", Egress: true, Ethernet: true, Length: 42, Data: frame("icmp 192.0.2.1 > 192.0.2.2")}),
		packet(api.WatchPassed, api.Packet{
			Fate: api.PacketForwarded, Out: "wan0", Interface: "lan0", Ethernet: true, Length: 42, Data: frame("udp 192.168.7.2:40000 > 1.1.1.1:53"),
			Rewritten: nat, RewrittenLength: len(nat),
		}),
		packet(api.WatchDrops, api.Packet{Fate: api.PacketDropped, Reason: "drop_steer", NTuple: "sctp drop", Interface: "eth9", Ethernet: true, Length: 46, Data: frame("sctp 192.168.8.2:1 > 1.1.1.2:2")}),
		packet(api.WatchDrops, api.Packet{Fate: api.PacketDropped, Reason: "drop_policy", Interface: "eth9", Ethernet: true, Length: 54, Data: frame("99 2001:db8::1 > 2001:db8::2")}),
	}
}

// TestMonitorText: packets on a line, in the words of l2ctl explain.
func TestMonitorText(t *testing.T) {
	want := []string{
		"dropped: drop_policy: inet filter forward: tcp dport 25 drop (line 7): iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:25 syn",
		"dropped: drop_martian: iif wg0 udp [fd00::1]:5 > [2001:db8::1]:6",
		"dropped: oif lan0 icmp 192.0.2.1 > 192.0.2.2 type 8 code 0",
		"forwarded by wan0: iif lan0 udp 192.168.7.2:40000 > 1.1.1.1:53 becomes udp 198.51.7.1:40000 > 1.1.1.1:53",
		"dropped: drop_steer: ntuple: sctp drop: iif eth9 sctp 192.168.8.2:1 > 1.1.1.2:2",
		"dropped: drop_policy: iif eth9 99 2001:db8::1 > 2001:db8::2",
	}
	for i, w := range watchedPackets(t) {
		text := watchedText(&w)
		if text != want[i] {
			t.Errorf("%s, want %s", text, want[i])
		}
		_, packet, _ := strings.Cut(text, ": iif ")
		packet, _, _ = strings.Cut(packet, " becomes ")
		if packet == "" {
			continue
		}
		if _, err := explain.ParsePacket("iif " + packet); err != nil {
			t.Errorf("%s: not in the language of explain: %v", packet, err)
		}
	}
}

// TestMonitorFilter: each filter selects what it says.
func TestMonitorFilter(t *testing.T) {
	for _, c := range []struct {
		cmd  monitorCmd
		want string
	}{
		{monitorCmd{}, "012345"},
		{monitorCmd{Reason: "drop_policy"}, "05"},
		{monitorCmd{Addr: "fd00::/8"}, "1"},
		{monitorCmd{Addr: "1.1.1.1"}, "03"},
		{monitorCmd{Port: 6}, "1"},
		{monitorCmd{Proto: "icmp"}, "2"},
		{monitorCmd{Interface: "lan0"}, "023"},
		{monitorCmd{Interface: "wan0"}, "3"},
		{monitorCmd{Interface: "lan0", Port: 25}, "0"},
	} {
		f, err := c.cmd.filter()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, w := range watchedPackets(t) {
			if f.selects(w.Packet, decode(w.Packet)) {
				got += string('0' + byte(i))
			}
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.cmd, got, c.want)
		}
	}
	for _, c := range []monitorCmd{{Addr: "somebody"}, {Proto: "http"}} {
		if _, err := c.filter(); err == nil {
			t.Errorf("%+v: taken", c)
		}
	}
}

// TestMonitorCapture: tshark reads the packets, their interfaces and comments.
func TestMonitorCapture(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	var b bytes.Buffer
	c := &captureWriter{w: &b, interfaces: map[captureInterface]int{}}
	for _, w := range watchedPackets(t) {
		if err := c.write(&w); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "drops.pcapng")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|",
		"-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.len", "-e", "frame.comment", "-e", "tcp.dstport", "-e", "udp.dstport", "-e", "ip.dst").Output()
	if err != nil {
		t.Fatal(err)
	}
	const want = "lan0|1|54|dropped: drop_policy: inet filter forward: tcp dport 25 drop (line 7)|25||1.1.1.1\n" +
		"wg0|1|1400|dropped: drop_martian||6|\n" +
		"lan0|2|42|dropped|||192.0.2.2\n" +
		"lan0|1|42|forwarded by wan0||53|1.1.1.1\n" +
		"wan0|2|42|forwarded, as rewritten||53|1.1.1.1\n" +
		"eth9|1|46|dropped: drop_steer: ntuple: sctp drop|||1.1.1.2\n" +
		"eth9|1|54|dropped: drop_policy|||\n"
	if got := strings.ReplaceAll(string(out), "0x0000000", ""); got != want { // as some versions print it
		t.Errorf("tshark reads\n%s\nwant\n%s", out, want)
	}
}

// TestMonitorOptions: what is watched comes first, and a filter behind it.
func TestMonitorOptions(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	for _, c := range []struct{ what, kinds, filters string }{
		{"", "drops", ""},
		{"flows,log", "flows,log", ""},
		{"drops,passed tcp port 80", "drops,passed", "both"},
		{"host 192.0.2.1", "drops", "both"},
		{"ether host 02:00:00:00:00:01", "drops", "ethernet"},
		{"drops,weather", "", ""},
		{"drops no such filter", "", ""},
	} {
		cmd := monitorCmd{What: strings.Fields(c.what), Rate: 1}
		o, err := cmd.options(t.Context())
		if c.kinds == "" {
			if err == nil {
				t.Errorf("%q: taken", c.what)
			}
			continue
		}
		filters := ""
		if n := len(o.Filter.IP); n > 1 {
			filters = "both"
		} else if len(o.Filter.Ethernet) > 0 {
			filters = "ethernet"
		}
		if err != nil || strings.Join(o.Kinds, ",") != c.kinds || filters != c.filters {
			t.Errorf("%q: %v, %v, %s", c.what, o, err, filters)
		}
	}
}

// TestMonitorKeepsFile: a capture is not lost for one that does not begin.
func TestMonitorKeepsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "drops.pcap")
	if err := os.WriteFile(file, []byte("an earlier capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "--socket", filepath.Join(dir, "none"), "monitor", "--pcap", file); code != exitFailure {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "an earlier capture" {
		t.Errorf("%q, %v", b, err)
	}
}
