// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
}

func testOptions() Options {
	return Options{Flows: 16, Repetitions: 1, GenCPU: 0, RouterCPU: 1}
}

// TestRedirectCounts sends a known number of packets through the bare
// redirect: each must arrive, be counted once and look right.
func TestRedirectCounts(t *testing.T) {
	needRoot(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	l, err := newLane(ctx, &Redirect{}, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()

	const times = 3
	for range times {
		if err := <-l.traffic.trickle(ctx, 0); err != nil {
			t.Fatal(err)
		}
	}
	const want = times * 16
	var n uint64
	for n < want && ctx.Err() == nil {
		if n, err = l.traffic.received(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	sent, err := l.traffic.sent()
	if err != nil {
		t.Fatal(err)
	}
	if n != want || sent != want {
		t.Errorf("sent %d, received %d, want %d", sent, n, want)
	}
	if err := l.checkSamples(); err != nil {
		t.Error(err)
	}
}

// TestMeasureFindsWrongPackets lets a device promise what it does not do.
func TestMeasureFindsWrongPackets(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 50 * time.Millisecond
	_, err := Run(t.Context(), []Device{liar{&Redirect{}}}, o, func(s string) { t.Log(s) })
	if err == nil {
		t.Fatal("packets with an unchanged TTL pass for forwarded ones")
	}
	t.Log(err)
}

// liar redirects and says that it decrements the TTL.
type liar struct{ *Redirect }

func (liar) Promise() Promise {
	return Promise{Source: GenAddr.Addr(), TTL: startTTL - 1}
}

// TestEstablish lets the kernel masquerade: replies must come back to each
// flow, and packets must leave with the WAN's address.
func TestEstablish(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 50 * time.Millisecond
	r, err := Run(t.Context(), []Device{NFTables{Ruleset: "../examples/l2/firewall.nft"}}, o,
		func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 1 || r.Samples[0].Received == 0 {
		t.Errorf("got %+v", r.Samples)
	}
}
