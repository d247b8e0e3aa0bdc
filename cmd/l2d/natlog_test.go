// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

func natLogOf(c config.NAT) (*natLog, *bytes.Buffer) {
	var out bytes.Buffer
	h := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return &natLog{NAT: c, log: slog.New(h)}, &out
}

func TestNATLogLines(t *testing.T) {
	at := netip.MustParseAddrPort
	masqueraded := flow.Flow{Protocol: "udp", Age: 90 * time.Second,
		Original: flow.Direction{Src: at("192.168.7.2:5000"), Dst: at("198.51.7.2:53")},
		Reply:    flow.Direction{Src: at("198.51.7.2:53"), Dst: at("198.51.7.1:6000")}}
	forwarded := flow.Flow{Protocol: "tcp",
		Original: flow.Direction{Src: at("203.0.113.9:4000"), Dst: at("198.51.7.1:80"), Zone: 3},
		Reply:    flow.Direction{Src: at("192.168.7.9:8080"), Dst: at("203.0.113.9:4000")}}
	hairpin := forwarded
	hairpin.Original.Src, hairpin.Reply.Dst = at("192.168.7.2:5000"), at("192.168.7.1:5000")
	end := time.Date(2030, 1, 2, 3, 4, 5, 678000000, time.UTC)
	for _, c := range []struct {
		destinations bool
		event        flow.Event
		want         string
	}{
		{false, flow.Event{Kind: flow.KindNew, Time: end, Flow: &forwarded},
			`level=INFO msg="nat begins" proto=tcp of=destination inside=192.168.7.9:8080 outside=198.51.7.1:80 zone=3 since=2030-01-02T03:04:05.678Z` + "\n"},
		{true, flow.Event{Kind: flow.KindDestroy, Time: end, Reason: flow.EndExpired, Flow: &masqueraded},
			`level=INFO msg="nat ends" proto=udp of=source inside=192.168.7.2:5000 outside=198.51.7.1:6000 remote=198.51.7.2:53 since=2030-01-02T03:02:35.678Z until=2030-01-02T03:04:05.678Z reason=expired` + "\n"},
		{false, flow.Event{Kind: flow.KindNew, Time: end, Flow: &hairpin},
			`level=INFO msg="nat begins" proto=tcp of=source inside=192.168.7.2:5000 outside=192.168.7.1:5000 zone=3 since=2030-01-02T03:04:05.678Z` + "\n" +
				`level=INFO msg="nat begins" proto=tcp of=destination inside=192.168.7.9:8080 outside=198.51.7.1:80 zone=3 since=2030-01-02T03:04:05.678Z` + "\n"},
		{false, flow.Event{Kind: flow.KindLost, Lost: 7}, `level=WARN msg="nat log: events were lost" events=7` + "\n"},
	} {
		n, out := natLogOf(config.NAT{LogRate: 10, LogDestinations: c.destinations})
		n.event(&c.event)
		if out.String() != c.want {
			t.Errorf("%s\nnot\n%s", out, c.want)
		}
	}
}

// TestNATLogRate: no more lines a second than wanted, and those that are left out
// are counted.
func TestNATLogRate(t *testing.T) {
	n, out := natLogOf(config.NAT{LogRate: 3})
	f := flow.Flow{Protocol: "udp", Original: flow.Direction{Src: netip.MustParseAddrPort("10.0.0.1:1")}}
	begin := time.Now()
	for i := range 10 {
		n.count(begin.Add(time.Duration(i) * time.Millisecond))
		n.event(&flow.Event{Kind: flow.KindNew, Flow: &f})
	}
	if got := strings.Count(out.String(), "nat begins"); got != 3 {
		t.Errorf("%d lines, not 3", got)
	}
	n.count(begin.Add(time.Second))
	if !strings.HasSuffix(out.String(), " lines=7\n") {
		t.Errorf("not 7 lines left out: %s", out)
	}
	n.event(&flow.Event{Kind: flow.KindNew, Flow: &f})
	if got := strings.Count(out.String(), "nat begins"); got != 4 {
		t.Errorf("%d lines, not 4", got)
	}
}

// natted is a ruleset that translates what goes to port 9.
const natted = "table ip nat {\n\tchain postrouting {\n\t\ttype nat hook postrouting priority 100;\n\t\tudp dport 9 snat to 192.0.2.1:7000-7099\n\t}\n}\n"

// TestNATLog: the daemon logs the translations of the dataplane while its
// configuration says so, and those that it ends itself.
func TestNATLog(t *testing.T) {
	h := newHost(t)
	h.write("firewall.nft", natted)
	h.write("l2d.yaml", h.config()+"nat: {log: true, log_destinations: true}\n")
	p := h.start()
	h.expect("READY=1")
	h.sendTo(t, "10") // not translated
	h.sendTo(t, "9")
	p.logs(t, `msg="nat begins" proto=udp of=source inside=192.0.2.1:`)
	p.logs(t, ` outside=192.0.2.1:70`)
	p.logs(t, ` remote=192.0.2.2:9 since=`)
	if n, err := h.client().DeleteFlows(t.Context(), flow.Filter{Port: 9}, false); n != 1 || err != nil {
		t.Errorf("%d deleted, %v", n, err)
	}
	p.logs(t, `msg="nat ends" proto=udp of=source inside=192.0.2.1:`)
	p.logs(t, ` reason=deleted`)
	if strings.Contains(p.stderr.String(), "remote=192.0.2.2:10") {
		t.Errorf("what is not translated is logged:\n%s", p.stderr.String())
	}
	for _, more := range []string{"", "nat: {log: true}\n"} {
		h.write("l2d.yaml", h.config()+more)
		if _, err := h.client().Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(p.stderr.String(), "nat begins")
		h.sendTo(t, "9")
		if more != "" {
			for end := time.Now().Add(20 * time.Second); strings.Count(p.stderr.String(), "nat begins") == before && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
		} else {
			time.Sleep(300 * time.Millisecond)
		}
		if got := strings.Count(p.stderr.String(), "nat begins") - before; got != min(len(more), 1) {
			t.Errorf("with %q: %d lines:\n%s", more, got, p.stderr.String())
		}
	}
}

// TestNATLogAbsent: translations that begin while no daemon runs are logged by the
// next one.
func TestNATLogAbsent(t *testing.T) {
	h := newHost(t)
	h.write("firewall.nft", natted)
	h.write("l2d.yaml", h.config()+"nat: {log: true}\n")
	p := h.start()
	h.expect("READY=1")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	h.sendTo(t, "9")
	h.start().logs(t, `msg="nat begins" proto=udp of=source inside=192.0.2.1:`)
}

// sendTo sends a datagram to a port of a host behind wan0.
func (h *host) sendTo(t *testing.T, port string) {
	t.Helper()
	if out, err := h.command("bash", "-c", "echo >/dev/udp/192.0.2.2/"+port).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// logs waits until the daemon logs a text.
func (p *daemonProcess) logs(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(p.stderr.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not logged", text)
		}
	}
}
