// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

// spent is what the kernel's statistics say of programs.
type spent struct {
	time time.Duration
	runs uint64
}

// cost is what a program has spent on average since then, in nanoseconds.
func (s spent) cost(then spent) float64 {
	return float64(s.time-then.time) / float64(max(s.runs-then.runs, 1))
}

func spentBy(b *testing.B, p *ebpf.Program) spent {
	b.Helper()
	s, err := p.Stats()
	if err != nil {
		b.Fatal(err)
	}
	return spent{s.Runtime, s.RunCount}
}

// costly registers the congestion control of an object until the benchmark ends.
func costly(b *testing.B, spec *ebpf.CollectionSpec, ops string) *ebpf.Collection {
	b.Helper()
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(coll.Close)
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: coll.Maps[ops]})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return coll
}

// saturate has a connection send over a path of its own until the benchmark ends.
func saturate(b *testing.B, congestionControl string) {
	b.Helper()
	s := path.Spec{Rate: 100_000_000, RTT: 20 * time.Millisecond, Limit: 250_000}
	e, err := path.Start(s, 1)
	if err != nil {
		b.Fatal(err)
	}
	c, err := e.Dial(context.Background(), path.Flow{CongestionControl: congestionControl})
	if err != nil {
		b.Fatal(err)
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
	b.Cleanup(func() {
		_ = c.SetLinger(0)
		c.Close()
		<-done
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkAck measures what the congestion control takes of an ACK beside the kernel's own
// BBR (version 1), by the kernel's statistics of programs and without what these take
// themselves. Both send at the same time, over paths of 100 Mbit/s and 20 ms.
func BenchmarkAck(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		b.Skip(err)
	}
	if _, err := kernel.AnyTypesByName("bbr_main"); err != nil {
		b.Skipf("the kernel's own BBR is a module, or is not there: %v", err)
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	members, err := kernelOps()
	if err != nil {
		b.Skip(err)
	}
	spec, err := object("bbr3_cost", DefaultSettings)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fit(spec, members); err != nil {
		b.Fatal(err)
	}
	ours := costly(b, spec, bbr3MapBbr3Ops)
	if spec, err = ebpf.LoadCollectionSpec("testdata/cost_bpfel.o"); err != nil {
		b.Fatal(err)
	}
	kernels := costly(b, spec, "cost_ops")
	saturate(b, "bbr3_cost")
	saturate(b, "bbr_cost")
	time.Sleep(2 * time.Second) // both have left STARTUP

	programs := []*ebpf.Program{ours.Programs[bbr3ProgBbr3TcpAck], ours.Programs[bbr3ProgBbr3TcpInAck], kernels.Programs["cost_ack"], kernels.Programs["cost_nothing"]}
	begin, now := make([]spent, len(programs)), make([]spent, len(programs))
	for i, p := range programs {
		begin[i] = spentBy(b, p)
	}
	b.ResetTimer()
	for enough := false; !enough; time.Sleep(time.Millisecond) {
		enough = true
		for i, p := range programs {
			now[i] = spentBy(b, p)
			enough = enough && now[i].runs-begin[i].runs >= uint64(b.N)
		}
	}
	b.StopTimer()
	nothing := now[3].cost(begin[3])
	ack, inAck, bbr := now[0].cost(begin[0])-nothing, now[1].cost(begin[1])-nothing, now[2].cost(begin[2])-nothing
	b.ReportMetric(0, "ns/op") // how fast the path is
	b.ReportMetric(ack, "ns/cong_control")
	b.ReportMetric(inAck, "ns/in_ack_event")
	b.ReportMetric(bbr, "ns/bbr")
	b.ReportMetric(nothing, "ns/statistics")
	b.ReportMetric((ack+inAck)/bbr, "times-bbr")
}
