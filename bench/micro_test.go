// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// micros are the rounds of a path.
func micros(path string, ns ...float64) (m []Micro) {
	for i, v := range ns {
		m = append(m, Micro{Path: path, Round: i, Runs: 1, Nanoseconds: v, Low: v, High: v})
	}
	return m
}

func buildL2d(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "l2d")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/l2d").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestMicro runs each kind of path in the real dataplane: each packet has to come to
// the verdict that its path is named for.
func TestMicro(t *testing.T) {
	needRoot(t)
	// Beside these: more rules and larger sets.
	paths := slices.DeleteFunc(microPaths(), func(p microPath) bool { return strings.HasSuffix(p.name, "00") })
	const rounds, runs = 2, 3
	r, err := microRun(t.Context(), paths, buildL2d(t), Options{Repetitions: rounds, GenCPU: 0, RouterCPU: 1}, runs, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Micros) != rounds*len(paths) {
		t.Errorf("%d results of %d paths", len(r.Micros), len(paths))
	}
	for _, m := range r.Micros {
		if m.Runs != runs || m.Nanoseconds <= 0 || m.Low > m.Nanoseconds || m.High < m.Nanoseconds {
			t.Errorf("got %+v", m)
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
	}
}

// TestMicroFindsWrongPackets: a path whose packets go another way is an error.
func TestMicroFindsWrongPackets(t *testing.T) {
	needRoot(t)
	p := microPath{name: "nowhere", limit: &Redirect{}, xdp: true, verdict: tcxRedirect}
	_, err := microRun(t.Context(), []microPath{p}, "", testOptions(), 1, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "nowhere: returns") {
		t.Errorf("got %v", err)
	}
}

func TestMicroPaths(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range microPaths() {
		if seen[p.name] || checkName(p.name) != nil {
			t.Errorf("%q is no name of a path, or of two", p.name)
		}
		seen[p.name] = true
	}
	got, err := (&MicroCmd{Paths: []string{"drop"}}).paths()
	if err != nil || len(got) != 6 {
		t.Errorf("paths that drop: %v, %v", got, err)
	}
	if _, err := (&MicroCmd{Paths: []string{"teleport"}}).paths(); err == nil {
		t.Error("no path, and no error")
	}
}

func TestUDPFrame(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, c := range []struct{ source, target string }{
		{"10.0.0.2:10000", "172.16.0.2:4789"},
		{"[fd00:10::2]:10000", "[fd00:172::2]:4789"},
	} {
		source, target := netip.MustParseAddrPort(c.source), netip.MustParseAddrPort(c.target)
		b := udpFrame(mac, mac, source, target)
		from, to, err := udpEnds(b)
		if err != nil || from != source || to != target {
			t.Errorf("%s to %s became %s to %s, %v", source, target, from, to, err)
		}
		at := ipOff + 20
		addresses := b[ipOff+12 : at]
		if source.Addr().Is6() {
			at = ipOff + 40
			addresses = b[ipOff+8 : at]
		} else if sum(0, b[ipOff:at]) != 0xffff {
			t.Error("wrong IP header checksum")
		}
		if sum(protoUDP+uint32(len(b)-at)+uint32(sum(0, addresses)), b[at:]) != 0xffff {
			t.Errorf("%s: wrong UDP checksum", source)
		}
		for n := range b {
			if _, _, err := udpEnds(b[:n]); err == nil && n < at+8 {
				t.Errorf("%d of %d bytes have both ends", n, len(b))
			}
		}
	}
}
