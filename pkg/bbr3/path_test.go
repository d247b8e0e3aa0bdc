// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

// emulate brings up a path with 20 Mbit/s and 30 ms.
func emulate(t *testing.T, change func(*path.Spec)) *path.Emulation {
	t.Helper()
	s := path.Spec{Rate: 20_000_000, RTT: 30 * time.Millisecond, Limit: 75_000}
	if change != nil {
		change(&s)
	}
	e, err := path.Start(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// transfer begins a connection that sends until the test ends, or what has become of
// what it shows.
func transfer(t *testing.T, e *path.Emulation, f path.Flow) *net.TCPConn {
	t.Helper()
	c, err := e.Dial(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for chunk := make([]byte, 1<<16); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.SetLinger(0)
		c.Close()
		<-done
	})
	return c
}

// A connection over a path goes through the phases, and its estimates are the path's. How near
// is a matter of how busy the machine is.
func TestPath(t *testing.T) {
	for name, f := range map[string]path.Flow{"IPv4": {}, "IPv6": {IPv6: true}} {
		t.Run(name, func(t *testing.T) {
			r := registration(t)
			s := DefaultSettings
			s.ProbeRTTInterval = time.Second
			if _, err := r.Register(s); err != nil {
				t.Fatal(err)
			}
			f.CongestionControl = r.Name
			conn := transfer(t, emulate(t, nil), f)
			seen, gains := map[string]bool{}, map[string]float64{}
			var c Connection
			within(t, "ProbeRTT, and what comes after it", func() bool {
				var err error
				if c, err = r.Connection(conn); err != nil {
					t.Fatal(err)
				}
				seen[c.State], gains[c.State] = true, c.PacingGain
				return c.ProbeRTTs >= 2 && seen["STARTUP"] && seen["CRUISE"] && seen["PROBE_RTT"] && c.State == "CRUISE"
			})
			if g := gains["STARTUP"]; g < 2.77 || g > 2.78 {
				t.Errorf("pacing gain of STARTUP %g", g)
			}
			if !c.FullBandwidth || c.MaxBandwidth < 1e6 || c.MaxBandwidth > 25e6 {
				t.Errorf("bandwidth %.1f Mbit/s, filled %v", c.MaxBandwidth/1e6, c.FullBandwidth)
			}
			if c.MinRTT < 29*time.Millisecond || c.MinRTT > 300*time.Millisecond {
				t.Errorf("RTT %s", c.MinRTT)
			}
			t.Logf("%+v", c)
			m, err := ebpf.LoadPinnedMap(r.pin(socksPin), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			// Chance makes it a whole number of seconds once in a million times.
			if s, err := stateOf(m, conn); err != nil || s.B.ProbeWait%second == 0 || s.B.ProbeWait/second != 2 {
				t.Errorf("the cycle waits %d us, %v", s.B.ProbeWait, err)
			}
		})
	}
}

// With ECN answered in proportion, marks keep the queue short, and are known by their share.
func TestPathMarks(t *testing.T) {
	r := registration(t)
	s := DefaultSettings
	s.ECN, s.ECNMaxRTT = true, 0
	if _, err := r.Register(s); err != nil {
		t.Fatal(err)
	}
	e := emulate(t, func(p *path.Spec) { p.Mark = 3 * time.Millisecond })
	if err := e.Sysctl("net/ipv4/tcp_ecn", "1"); err != nil {
		t.Fatal(err)
	}
	conn := transfer(t, e, path.Flow{CongestionControl: r.Name})
	within(t, "a marked packet, and the share that it has left", func() bool {
		marked := false
		for _, p := range e.Packets() {
			marked = marked || p.Marked
		}
		c, err := r.Connection(conn)
		if err != nil {
			t.Fatal(err)
		}
		return marked && c.ECNAlpha > 0 && c.ECNAlpha < 1 && c.FullBandwidth
	})
}

// The state of a connection with another congestion control is none.
func TestConnectionOfOthers(t *testing.T) {
	r := registration(t)
	if _, err := r.Register(Settings{}); err != nil {
		t.Fatal(err)
	}
	conn := transfer(t, emulate(t, nil), path.Flow{CongestionControl: "reno"})
	if _, err := r.Connection(conn); !errors.Is(err, ErrNoState) {
		t.Error(err)
	}
}

// Entries of oracle_counts.
const (
	oracleSamples uint32 = iota
	oracleUnknown
	oracleLostExact
	oracleLostError
	oracleInflightExact
	oracleInflightError
	oracleInflightSum
	oracleDecisions
	oracleMarked
	oracleMarkedFar
	oracleCounts
)

// oracle registers what compares its calculations with what was true of each packet, until
// the test ends.
func oracle(t *testing.T, name string) *ebpf.Collection {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec("testdata/oracle_bpfel.o")
	if err != nil {
		t.Fatal(err)
	}
	members, err := kernelOps()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fit(spec, members); err != nil {
		t.Fatal(err)
	}
	if err := rename(spec, name); err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: coll.Maps[bbr3MapBbr3Ops]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return coll
}

// What is calculated of packets in flight and lost when a packet was sent is as near to the
// truth as docs/bbr3.md says.
func TestOracle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, c := range []struct {
		name   string
		change func(*path.Spec)
		// at least so many samples of a hundred have the true losses; the error of
		// what is in flight and the other decisions are at most so many.
		lost, inflight, decisions float64
		// at least so many have the true number of packets in flight.
		exact float64
		// of the packets that were marked lost, so many may seem to have been sent with
		// far more or less in flight than those around them.
		far float64
	}{
		{"queue", nil, 97, 2, 1, 90, 25},
		{"random loss", func(s *path.Spec) { s.Loss = 0.01 }, 97, 3, 2, 90, 25},
		{"bursts", func(s *path.Spec) { s.Loss, s.LossRun = 0.02, 4 }, 95, 3, 2, 90, 25},
		{"reordering", func(s *path.Spec) { s.Reorder = 0.01 }, 95, 3, 2, 80, 25},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprintf("b3o%d", os.Getpid())
			coll := oracle(t, name)
			e := emulate(t, c.change)
			var egress link.Link
			err := e.Sender(func() error {
				dev, err := net.InterfaceByName("path0")
				if err != nil {
					return err
				}
				egress, err = link.AttachTCX(link.TCXOptions{Interface: dev.Index, Program: coll.Programs["oracle_egress"], Attach: ebpf.AttachTCXEgress})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer egress.Close()
			transfer(t, e, path.Flow{CongestionControl: name})
			var n [oracleCounts]float64
			within(t, "1,500 samples", func() bool {
				for key := range n {
					var v uint64
					if err := coll.Maps["oracle_counts"].Lookup(uint32(key), &v); err != nil {
						t.Fatal(err)
					}
					n[key] = float64(v)
				}
				return n[oracleSamples] >= 1500
			})
			all := n[oracleSamples]
			lost, decisions := 100*n[oracleLostExact]/all, 100*n[oracleDecisions]/all
			inflight := 100 * n[oracleInflightError] / n[oracleInflightSum]
			far := 100 * n[oracleMarkedFar] / max(n[oracleMarked], 1)
			t.Logf("%.0f samples, %.0f unknown: losses exact in %.1f %%, mean error %.3f; in flight exact in %.1f %%, mean error %.2f of %.1f; decisions other in %.2f %%; of %.0f with losses, in flight by far another in %.1f %%",
				all, n[oracleUnknown], lost, n[oracleLostError]/all, 100*n[oracleInflightExact]/all, n[oracleInflightError]/all, n[oracleInflightSum]/all, decisions, n[oracleMarked], far)
			if lost < c.lost || inflight > c.inflight || decisions > c.decisions {
				t.Errorf("losses exact in %.1f %%, want %.0f; error in flight %.1f %%, want up to %.0f; decisions other in %.2f %%, want up to %.0f",
					lost, c.lost, inflight, c.inflight, decisions, c.decisions)
			}
			if exact := 100 * n[oracleInflightExact] / all; exact < c.exact {
				t.Errorf("in flight exact in %.1f %%, want %.0f", exact, c.exact)
			}
			if far > c.far {
				t.Errorf("packets marked lost: in flight by far another in %.1f %%, want up to %.0f", far, c.far)
			}
			if n[oracleUnknown] > all/10 {
				t.Errorf("%.0f packets were not seen", n[oracleUnknown])
			}
		})
	}
}
