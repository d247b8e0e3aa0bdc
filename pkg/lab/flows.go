// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	flowCount    = 200
	flowRecord   = 256                    // bytes that travel to and fro at once
	flowPause    = 30 * time.Millisecond  // of a flow between two records
	flowPatience = 20 * time.Second       // until a silent flow counts as broken
	probePause   = 3 * time.Millisecond   // between two datagrams
	probeWait    = 2 * time.Second        // for the last answers
	reportPause  = 100 * time.Millisecond // between two reports
)

// FlowReport is what the sender of the parallel flows knows.
type FlowReport struct {
	// Flows that were opened, and those that broke since: reset, closed, silent for
	// too long or with a byte that was not the one sent.
	Flows  int `json:"flows"`
	Broken int `json:"broken"`
	// Records that came back in all flows, and in the one that got the fewest.
	Records uint64 `json:"records"`
	Slowest uint64 `json:"slowest"`
	// Retransmits of all flows, in segments.
	Retransmits uint64 `json:"retransmits"`
	// Datagrams sent one by one beside the flows, and those without an answer: unlike
	// the flows they show a packet that is lost. Known when Final is set.
	Probes     uint64 `json:"probes"`
	ProbesLost uint64 `json:"probes_lost"`
	// FirstLost is the time at which the first of those was sent, since the flows
	// were open.
	FirstLost time.Duration `json:"first_lost,omitempty"`
	// Error of the first flow that broke.
	Error string `json:"error,omitempty"`
	Final bool   `json:"final"`
}

type flows struct {
	records []atomic.Uint64
	broken  atomic.Int64
	sent    atomic.Uint64
	lost    atomic.Uint64
	conns   []*net.TCPConn
	begin   time.Time
	missing atomic.Int64 // when the first lost datagram was sent, in ns since begin
	first   sync.Once
	cause   atomic.Value
}

// runFlows opens flowCount connections to the echo servers at addrs, spread
// evenly, and keeps all of them busy until standard input or the context ends. It
// writes a FlowReport a line.
func runFlows(ctx context.Context, addrs []netip.AddrPort, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	f := &flows{records: make([]atomic.Uint64, flowCount)}
	for i := range flowCount {
		conn, err := net.DialTimeout("tcp", addrs[i%len(addrs)].String(), flowPatience)
		if err != nil {
			return fmt.Errorf("flow %d: %w", i, err)
		}
		defer conn.Close()
		f.conns = append(f.conns, conn.(*net.TCPConn))
	}
	ready()
	f.begin = time.Now()

	var wg sync.WaitGroup
	for i, conn := range f.conns {
		wg.Go(func() {
			if err := f.exchange(ctx, uint64(i), conn); err != nil {
				f.broken.Add(1)
				f.first.Do(func() { f.cause.Store(fmt.Sprintf("flow %d: %v", i, err)) })
			}
		})
	}
	probeErrs := make([]error, len(addrs))
	for i, a := range addrs {
		wg.Go(func() { probeErrs[i] = f.probe(ctx, a) })
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()

	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case <-ended:
			for _, err := range probeErrs {
				if err != nil {
					return fmt.Errorf("probe: %w", err)
				}
			}
			report := f.report()
			report.Final = true
			return out.Encode(report)
		case <-time.After(reportPause):
			if err := out.Encode(f.report()); err != nil {
				return err
			}
		}
	}
}

// exchange sends numbered records and checks that each comes back as it was.
func (f *flows) exchange(ctx context.Context, id uint64, conn *net.TCPConn) error {
	record, answer := make([]byte, flowRecord), make([]byte, flowRecord)
	for n := uint64(0); ctx.Err() == nil; n++ {
		binary.BigEndian.PutUint64(record, id)
		binary.BigEndian.PutUint64(record[8:], n)
		copy(record[16:], streamBase()[n%1000:])
		if err := conn.SetDeadline(time.Now().Add(flowPatience)); err != nil {
			return err
		}
		if _, err := conn.Write(record); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		if !bytes.Equal(record, answer) {
			return fmt.Errorf("record %d came back changed", n)
		}
		f.records[id].Add(1)
		time.Sleep(flowPause)
	}
	return nil
}

// probe sends numbered datagrams to an echo server and counts the missing answers.
func (f *flows) probe(ctx context.Context, to netip.AddrPort) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := roomy(conn); err != nil {
		return err
	}
	seen := map[uint64]bool{}
	done := make(chan struct{})
	var sent atomic.Uint64
	sent.Store(math.MaxUint64)
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for uint64(len(seen)) < sent.Load() {
			n, err := conn.Read(buf)
			if err != nil {
				if ctx.Err() != nil && sent.Load() != math.MaxUint64 {
					return // the deadline below
				}
				continue // an ICMP error about one datagram
			}
			if _, rest, ok := bytes.Cut(buf[:n], []byte("\n")); ok && len(rest) == 8 {
				seen[binary.BigEndian.Uint64(rest)] = true
			}
		}
	}()
	n := uint64(0)
	var sentAt []time.Duration
	for ; ctx.Err() == nil; n++ {
		sentAt = append(sentAt, time.Since(f.begin))
		// What cannot be sent is missing in the count, as it should be.
		_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, n))
		time.Sleep(probePause)
	}
	sent.Store(n)
	if err := conn.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
		return err
	}
	<-done
	f.sent.Add(n)
	f.lost.Add(n - uint64(len(seen)))
	for i, at := range sentAt {
		if !seen[uint64(i)] {
			f.missing.CompareAndSwap(0, int64(at))
			break
		}
	}
	return nil
}

func (f *flows) report() FlowReport {
	r := FlowReport{Flows: len(f.conns), Broken: int(f.broken.Load()), Slowest: math.MaxUint64}
	for i := range f.records {
		n := f.records[i].Load()
		r.Records += n
		r.Slowest = min(r.Slowest, n)
		r.Retransmits += retransmits(f.conns[i])
	}
	r.Probes, r.ProbesLost, r.FirstLost = f.sent.Load(), f.lost.Load(), time.Duration(f.missing.Load())
	if cause, ok := f.cause.Load().(string); ok {
		r.Error = cause
	}
	return r
}

func retransmits(conn *net.TCPConn) uint64 {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var total uint64
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			total = uint64(info.Total_retrans)
		}
	})
	return total
}
