// SPDX-License-Identifier: GPL-2.0-only

package path

import (
	"context"
	"encoding/binary"
	"flag"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"
)

var usual = Spec{Rate: 20_000_000, RTT: 40 * time.Millisecond, Limit: 100_000}

// pass sends packets of a size in even distances through a bottleneck.
func pass(s Spec, n, bytes int, every time.Duration, capable bool) []fate {
	b := newBottleneck(s, 7)
	now := time.Unix(1000, 0)
	out := make([]fate, n)
	for i := range out {
		out[i] = b.accept(now, bytes, capable)
		now = now.Add(every)
	}
	return out
}

func count(list []fate, is func(fate) bool) (n int) {
	for _, f := range list {
		if is(f) {
			n++
		}
	}
	return n
}

// The rate, the queue's limit and the delay are what they are said to be.
func TestBottleneck(t *testing.T) {
	const bytes, n = 1000, 10_000
	every := 200 * time.Microsecond // 40 Mbit/s, twice the rate
	list := pass(usual, n, bytes, every, false)
	through := count(list, func(f fate) bool { return !f.lost })
	want := float64(usual.Rate) / 8 / bytes * (n * every.Seconds())
	if math.Abs(float64(through)-want) > float64(usual.Limit/bytes)+2 {
		t.Errorf("%d packets, want about %.0f", through, want)
	}
	longest := time.Duration(0)
	for _, f := range list {
		longest = max(longest, f.waits)
	}
	if full := time.Duration(float64(usual.Limit) * 8 / float64(usual.Rate) * 1e9); longest > full || longest < full*9/10 {
		t.Errorf("up to %s in the queue, want %s", longest, full)
	}
	alone := pass(usual, 1, bytes, 0, false)[0]
	if got := alone.out.Sub(time.Unix(1000, 0)); got < usual.RTT/2 || got > usual.RTT/2+time.Millisecond {
		t.Errorf("one packet takes %s", got)
	}
	now := time.Unix(1000, 0)
	if got := usual.back(now).Sub(now); got != usual.RTT/2 {
		t.Errorf("an ACK takes %s", got)
	}
	s := usual
	s.Aggregate = 7 * time.Millisecond
	if at := s.back(now); at.UnixNano()%int64(s.Aggregate) != 0 && at.Sub(now) < usual.RTT/2 {
		t.Errorf("aggregated: %s", at.Sub(now))
	}
}

// Losses are as many as they are said to be, in runs as long.
func TestLoss(t *testing.T) {
	for _, run := range []float64{1, 5} {
		s := usual
		s.Loss, s.LossRun = 0.05, run
		list := pass(s, 200_000, 100, time.Millisecond, false)
		lost := count(list, func(f fate) bool { return f.lost })
		runs := 0
		for i, f := range list {
			if f.lost && (i == 0 || !list[i-1].lost) {
				runs++
			}
		}
		if got := float64(lost) / float64(len(list)); got < 0.04 || got > 0.06 {
			t.Errorf("runs of %g: %.3f lost", run, got)
		}
		if got := float64(lost) / float64(runs); got < run*0.85 || got > run*1.25 {
			t.Errorf("runs of %.2f, want %g", got, run)
		}
	}
}

// Marks begin at the threshold and only for those that understand them.
func TestMark(t *testing.T) {
	s := usual
	s.Mark = 5 * time.Millisecond
	for _, capable := range []bool{true, false} {
		for _, f := range pass(s, 2000, 1000, 200*time.Microsecond, capable) {
			if want := capable && !f.lost && f.waits > s.Mark; f.marked != want {
				t.Fatalf("capable %v: marked %v after %s", capable, f.marked, f.waits)
			}
		}
	}
	packet := make([]byte, 40)
	packet[0], packet[1], packet[8], packet[9] = 0x45, 0x01, 64, 6
	sum := func() uint16 {
		s := uint32(0)
		for i := 0; i < 20; i += 2 {
			s += uint32(binary.BigEndian.Uint16(packet[i:]))
		}
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
		return uint16(s)
	}
	binary.BigEndian.PutUint16(packet[10:], ^sum())
	mark(packet)
	if ecn(packet) != ecnMarked || sum() != 0xffff {
		t.Errorf("ECN %d, checksum %#x", ecn(packet), sum())
	}
	six := []byte{0x60, 0x10, 39: 0}
	if ecn(six) != 1 {
		t.Errorf("IPv6: %d", ecn(six))
	}
	if mark(six); ecn(six) != ecnMarked || six[0] != 0x60 {
		t.Errorf("IPv6 marked: %x", six[:2])
	}
}

// Reordered packets are overtaken, the others not.
func TestReorder(t *testing.T) {
	s := usual
	s.Reorder, s.Jitter = 0.1, 3*time.Millisecond
	late, last := 0, time.Time{}
	for _, f := range pass(s, 5000, 100, time.Millisecond, false) {
		if f.overtaken {
			late++
			continue
		}
		if f.out.Before(last) {
			t.Fatal("jitter overtakes")
		}
		last = f.out
	}
	if late < 300 || late > 700 {
		t.Errorf("%d of 5000", late)
	}
}

func TestFairness(t *testing.T) {
	if got := jain([]float64{1, 1, 1, 1}); got != 1 {
		t.Error(got)
	}
	if got := jain([]float64{1, 0, 0, 0}); got != 0.25 {
		t.Error(got)
	}
	even, odd := []float64{1, 1}, []float64{1, 0}
	if got := settled([][]float64{odd, even, even, odd, even, even, even}); got != 4 {
		t.Error(got)
	}
	if got := settled([][]float64{even, even, odd, nil, even}); got != -1 {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	if err := usual.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Spec){
		func(s *Spec) { s.Rate = 0 }, func(s *Spec) { s.Limit = 100 }, func(s *Spec) { s.Loss = 1 },
		func(s *Spec) { s.RTT = -1 }, func(s *Spec) { s.Reorder = -0.1 }, func(s *Spec) { s.Aggregate = time.Hour },
	} {
		s := usual
		change(&s)
		if s.Check() == nil {
			t.Errorf("%+v", s)
		}
	}
}

// Real connections of either family go over the path, and see its rate and its delay.
func TestMeasure(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s := usual
	s.Mark = 15 * time.Millisecond
	flows := []Flow{{CongestionControl: "cubic"}, {CongestionControl: "reno", IPv6: true}}
	r, err := Measure(context.Background(), s, flows, 5*time.Second, 1, "1")
	if err != nil {
		t.Fatal(err)
	}
	if r.Utilisation < 0.02 || r.Utilisation > 1.02 {
		t.Errorf("utilisation %.2f", r.Utilisation)
	}
	if r.Delay.P50 > r.Delay.P95 || r.Delay.P95 > r.Delay.P99 || r.Delay.P99 == 0 {
		t.Errorf("delays %+v", r.Delay)
	}
	if r.Marked == 0 {
		t.Error("nothing is marked")
	}
	for _, f := range r.Flows {
		if f.Rate == 0 {
			t.Errorf("%s: nothing", f.CongestionControl)
		}
	}
	if r.Jain < 0.5 || r.Jain > 1 {
		t.Errorf("Jain %.2f", r.Jain)
	}
}

var machine = flag.Bool("path.machine", false, "this machine is for tests alone: load its modules")

// TestDCTCP: a connection with DCTCP is capable of ECN, and is marked.
func TestDCTCP(t *testing.T) {
	if !*machine {
		t.Skip("needs the module tcp_dctcp: -path.machine")
	}
	if out, err := exec.Command("modprobe", "-a", "tun", "tcp_dctcp").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := usual
	s.Mark = 5 * time.Millisecond
	for _, ipv6 := range []bool{false, true} {
		r, err := Measure(t.Context(), s, []Flow{{CongestionControl: dctcp, IPv6: ipv6}}, 5*time.Second, 1, "1")
		if err != nil {
			t.Fatal(err)
		}
		if r.Flows[0].Rate == 0 || r.Marked == 0 {
			t.Errorf("IPv6 %t: %.0f bit/s, marked %.4f", ipv6, r.Flows[0].Rate, r.Marked)
		}
	}
}
