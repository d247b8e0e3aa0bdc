// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Live lets client1 use the Internet, and a stranger on the WAN try to reach it,
// and prints once a second what the dataplane counts.
func Live(ctx context.Context, l *Lab, dp Dataplane, w io.Writer, seconds int) error {
	flows, err := l.startFlows(ctx)
	if err != nil {
		return err
	}
	defer flows.process.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go l.load(ctx)

	fmt.Fprintf(w, "%12s %12s %8s  %s\n", "packets/s", "Mbit/s", "flows", "drops/s, by reason and by rule")
	last, err := sample(ctx, dp)
	if err != nil {
		return err
	}
	for range seconds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		now, err := sample(ctx, dp)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, now.since(last))
		last = now
	}
	_, err = flows.finish(ctx)
	return err
}

// load downloads without end, and sends from the WAN what must be dropped.
func (l *Lab) load(ctx context.Context) {
	go func() {
		for ctx.Err() == nil {
			_ = l.download(ctx, Client1, AddrServer.V4, DownloadSize, downloadSHA256) // for its packets only
		}
	}()
	wire, err := l.openTap(ISP, ifISP, nil)
	if err != nil {
		return
	}
	defer wire.close()
	for i := uint16(0); ctx.Err() == nil; i++ {
		for _, f := range [][]byte{
			tcpFrame(fromWAN.hop, AddrServer.V4, AddrClient1.V4, portStranger, 1024+i%1000, tcpSYN),
			udpFrame(fromWAN.hop, addrLoop.V4, AddrRouterWAN.V4, portStranger, portProbe, nil),
			tcpFrame(fromWAN.hop, AddrServer.V6, AddrRouterWAN.V6, portStranger, portSSH, tcpSYN|tcpFIN),
		} {
			_ = wire.send(f)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type sampled struct {
	at     time.Time
	rules  []Rule
	status Status
}

func sample(ctx context.Context, dp Dataplane) (s sampled, err error) {
	if s.rules, err = dp.Rules(ctx); err != nil {
		return s, err
	}
	s.status, err = dp.Status(ctx)
	s.at = time.Now()
	return s, err
}

// since describes what happened between two samples.
func (s sampled) since(before sampled) string {
	seconds := s.at.Sub(before.at).Seconds()
	var packets, bytes uint64
	var drops []string
	old := map[string]Rule{}
	for _, r := range before.rules {
		old[fmt.Sprint(r.Table, r.Chain, r.Handle)] = r
	}
	for _, r := range s.rules {
		o := old[fmt.Sprint(r.Table, r.Chain, r.Handle)]
		n := r.Packets - o.Packets
		dropped := strings.HasSuffix(r.Text, "drop")
		if dropped || strings.HasSuffix(r.Text, "accept") {
			packets += n
			bytes += r.Bytes - o.Bytes
		}
		if dropped && n > 0 {
			drops = append(drops, fmt.Sprintf("%q %.0f", r.Chain+": "+plainRule(r.Text), float64(n)/seconds))
		}
	}
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(s.status.Reasons)) {
		n := s.status.Reasons[name] - before.status.Reasons[name]
		if what, ok := strings.CutPrefix(name, "drop_"); ok && n > 0 {
			reasons = append(reasons, fmt.Sprintf("%s %.0f", what, float64(n)/seconds))
		}
	}
	line := fmt.Sprintf("%12.0f %12.0f %8d  ", float64(packets)/seconds, float64(bytes)*8/1e6/seconds, s.status.Flows)
	for i, text := range wrapText(strings.Join(append(reasons, drops...), ", "), 63) {
		if i > 0 {
			line += "\n" + strings.Repeat(" ", 36)
		}
		line += text
	}
	return line
}

// Enter returns the commands with which a person can look around in a lab.
func (l *Lab) Enter() string {
	var b strings.Builder
	for _, e := range []struct{ ns, what string }{
		{Client1, "a client on br0"},
		{Router, "the router"},
		{Inet, "the Internet: HTTP, DNS, echo and iperf3 at " + AddrServer.V4.String() + " and " + AddrServer.V6.String()},
	} {
		fmt.Fprintf(&b, "  ip netns exec %s sh    # %s\n", l.ns[e.ns].name, e.what)
	}
	fmt.Fprintf(&b, "  ip netns exec %s curl -so /dev/null http://%s/stream?bytes=%d\n", l.ns[Client1].name,
		netip.AddrPortFrom(AddrServer.V4, portHTTP), DownloadSize)
	fmt.Fprintf(&b, "  logs are in %s\n", l.dir)
	fmt.Fprintf(&b, "  l2ctl lab down %s      # remove all of it\n", l.id)
	return b.String()
}
