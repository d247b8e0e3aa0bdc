// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// MaxFlows is how many flows can be established: MAX_FLOWS of bpf/traffic.c.
const MaxFlows = 1 << 22

// freshFlows is how many flows can begin in a turn, each with another tuple: no
// generator makes so many packets in that time. Those behind MaxFlows have other
// destination ports.
const freshFlows = MaxFlows << 5

// flowsAtAddr is how many flows go to one address: FLOWS_AT_ADDR there.
const flowsAtAddr = 1 << 14

// traffic is the generators and the receiver of a topology.
type traffic struct {
	topology *Topology
	objects  trafficObjects
	hear     link.Link
	sink     link.Link
	flows    int
	ipv6     bool
	// establisher makes packets of all flows in turn; makers are what is measured with,
	// one for each of the router's cores.
	establisher *generator
	makers      []*generator
}

// newTraffic loads the programs for a case.
func newTraffic(t *Topology, c Case) (*traffic, error) {
	if c.Flows < 1 || c.Flows > freshFlows || c.Flows&(c.Flows-1) != 0 {
		return nil, fmt.Errorf("%d flows: want a power of two up to %d", c.Flows, freshFlows)
	}
	if n := c.cores(); n&(n-1) != 0 || n > c.Flows {
		return nil, fmt.Errorf("%d cores for %d flows: want a power of two, so that each has as many", n, c.Flows)
	}
	if err := c.Mix.check(); err != nil {
		return nil, err
	}
	spec, err := trafficSpec(t, c)
	if err != nil {
		return nil, err
	}
	tr := &traffic{topology: t, flows: c.Flows, ipv6: c.IPv6}
	if err := spec.LoadAndAssign(&tr.objects, nil); err != nil {
		return nil, fmt.Errorf("load traffic programs: %w", err)
	}
	tr.establisher = &generator{generatorObjects: generatorObjects{
		Generate: tr.objects.Generate, Sent: tr.objects.Sent, Limit: tr.objects.Limit, Gap: tr.objects.Gap,
	}, topology: t, length: frameLen(c.IPv6)}
	if tr.makers, err = newMakers(t, c, tr.establisher); err != nil {
		return nil, errors.Join(err, tr.close())
	}
	tr.hear, err = attachXDP(t.gen, tr.objects.Hear, t.Gen.Index)
	if err == nil {
		tr.sink, err = attachXDP(t.sink, tr.objects.Receive, t.Sink.Index)
	}
	if err != nil {
		return nil, errors.Join(err, tr.close())
	}
	return tr, nil
}

// trafficSpec are the programs for the shortest frames of all flows in turn.
func trafficSpec(t *Topology, c Case) (*ebpf.CollectionSpec, error) {
	spec, err := loadTraffic()
	if err != nil {
		return nil, err
	}
	ipv6 := c.IPv6
	var template [72]byte
	copy(template[:], firstFrame(t.Gen.MAC, t.Ingress.MAC, ipv6))
	sink, isIPv6 := SinkAddr.Addr().AsSlice(), uint32(0)
	if ipv6 {
		sink, isIPv6 = sinkAddr6.Addr().AsSlice(), 1
	}
	for name, value := range map[string]any{
		trafficVarTemplate:   template,
		trafficVarIpv6:       isIPv6,
		trafficVarFirstDaddr: binary.NativeEndian.Uint32(sink[len(sink)-4:]),
		trafficVarTargetPort: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, targetPort)),
		trafficVarGenIfindex: uint32(t.Gen.Index),
		trafficVarFirstPort:  uint16(firstPort),
		trafficVarFlowMask:   uint32(c.Flows - 1),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	return spec, nil
}

func attachXDP(ns *namespace, p *ebpf.Program, ifindex int) (l link.Link, err error) {
	err = ns.do(func() error {
		l, err = link.AttachXDP(link.XDPOptions{
			Program:   p,
			Interface: ifindex,
			Flags:     link.XDPDriverMode,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", p, err)
	}
	return l, nil
}

func (tr *traffic) close() error {
	var errs []error
	for _, l := range []link.Link{tr.hear, tr.sink} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	for _, m := range tr.makers {
		if m != tr.establisher {
			errs = append(errs, m.close())
		}
	}
	return errors.Join(append(errs, tr.objects.Close())...)
}

// establishTries is how often flows without a reply get another chance: what finds
// a ring full, because somebody else has the router's CPU, is lost.
const establishTries = 20

// reflect lets the receiver send packets back.
func (tr *traffic) reflect() error {
	if err := tr.sink.Update(tr.objects.Reflect); err != nil {
		return fmt.Errorf("let the receiver reflect: %w", err)
	}
	return nil
}

// establish sends one packet of each flow, so many a second, and lets the receiver
// send it back, until each flow has got its reply at the generator.
func (tr *traffic) establish(ctx context.Context, cpu int, rate float64) error {
	if tr.flows > MaxFlows {
		return fmt.Errorf("%d flows: want at most %d", tr.flows, MaxFlows)
	}
	if err := tr.reflect(); err != nil {
		return err
	}
	if err := tr.objects.OnlyUnanswered.Set(uint32(1)); err != nil {
		return fmt.Errorf("let the generator pass over flows: %w", err)
	}
	var missing int
	for range establishTries {
		if err := tr.trickle(ctx, cpu, rate); err != nil {
			return err
		}
		var err error
		if missing, err = tr.unanswered(); err != nil {
			return err
		}
		if missing == 0 {
			break
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d flows get no reply", missing, tr.flows)
	}
	if err := tr.objects.OnlyUnanswered.Set(uint32(0)); err != nil {
		return fmt.Errorf("let the generator pass over no flow: %w", err)
	}
	if err := tr.sink.Update(tr.objects.Receive); err != nil {
		return fmt.Errorf("let the receiver count: %w", err)
	}
	return nil
}

// forgetReplies has all flows without a reply again.
func (tr *traffic) forgetReplies() error {
	if err := tr.objects.Replied.Set(make([]byte, MaxFlows)); err != nil {
		return fmt.Errorf("clear replies: %w", err)
	}
	return nil
}

// unanswered counts the flows without a reply.
func (tr *traffic) unanswered() (int, error) {
	replied := make([]byte, MaxFlows)
	if err := tr.objects.Replied.Get(replied); err != nil {
		return 0, fmt.Errorf("read replies: %w", err)
	}
	return bytes.Count(replied[:tr.flows], []byte{0}), nil
}

// replies is how many packets have come back to the generator.
func (tr *traffic) replies() (uint64, error) {
	var n uint64
	if err := tr.objects.Replies.Get(&n); err != nil {
		return 0, fmt.Errorf("read the counter of replies: %w", err)
	}
	return n, nil
}

// received is how many packets the receiver has counted.
func (tr *traffic) received() (n uint64, err error) {
	var counts []trafficCount
	if err := tr.objects.Received.Lookup(uint32(0), &counts); err != nil {
		return 0, fmt.Errorf("read the receiver's counter: %w", err)
	}
	for _, c := range counts {
		n += c.Packets
	}
	return n, nil
}

// takeSamples returns the frames that the receiver has kept and forgets them.
func (tr *traffic) takeSamples() ([]sample, error) {
	var samples []sample
	for key := range tr.objects.Samples.MaxEntries() {
		var s trafficSample
		if err := tr.objects.Samples.Lookup(key, &s); err != nil {
			return nil, fmt.Errorf("read sample: %w", err)
		}
		if s.Len == 0 {
			continue
		}
		// Longer than what is kept is wrong as well: check says so.
		frame := make([]byte, s.Len)
		copy(frame, s.Data[:])
		samples = append(samples, frame)
		if err := tr.objects.Samples.Put(key, trafficSample{}); err != nil {
			return nil, fmt.Errorf("clear sample: %w", err)
		}
	}
	return samples, nil
}
