// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"io"
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
	last, err := takeSample(ctx, dp)
	if err != nil {
		return err
	}
	for range seconds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		now, err := takeSample(ctx, dp)
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

// since describes what happened between two samples, per second.
func (s sample) since(before sample) string {
	seconds := s.at.Sub(before.at).Seconds()
	var packets, bytes uint64
	for _, r := range changes(before.rules, s.rules) {
		if r.drops() || strings.HasSuffix(r.Text, "accept") {
			packets += r.Packets
			bytes += r.Bytes
		}
	}
	perSecond := func(n uint64) float64 { return float64(n) / seconds }
	line := fmt.Sprintf("%12.0f %12.0f %8d  ", perSecond(packets), perSecond(bytes)*8/1e6, s.status.Flows)
	drops := s.dropped(before, func(n uint64) string { return fmt.Sprintf("%.0f", perSecond(n)) })
	return line + strings.Join(wrapText(strings.Join(drops, ", "), 63), "\n"+strings.Repeat(" ", 36))
}
