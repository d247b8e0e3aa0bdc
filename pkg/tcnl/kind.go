// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/mdlayher/netlink"
)

// Kind is a sort of qdiscs.
type Kind struct {
	// Name is the kernel's.
	Name string
	// Options are what can be set.
	Options []Option
	// Config is the option of the kernel's build that it comes with.
	Config string

	// fixed kinds cannot be changed, only replaced.
	fixed bool
	// Classless kinds can be the leaf of another one.
	Classless bool
	// Multiqueue kinds need an interface with more than one queue.
	Multiqueue bool
	// header is a struct with the first of the options in the place of attributes.
	header bool
	// Classful ones have classes, with qdiscs at those that have no class below them.
	Classful bool
	// pack and unpack take the place of attributes for the options.
	pack   func(*Kind, map[string]string) ([]byte, error)
	unpack func(*Kind, []byte) (map[string]string, bool)
	// ignored are attributes that say nothing.
	ignored []uint16
}

// Option is a parameter of a kind.
type Option struct {
	// Name as tc has it, as far as that has one.
	Name string
	attr uint16
	unit
	// initial ones can be set when the qdisc is made, and not later.
	initial bool
	// absent is its value when the kernel does not report it; empty: then it has none.
	absent string
	// with is an option that the kernel changes along, and instead one that it takes
	// the place of.
	with, instead string
	// needs is an option without which it has no effect, and is not reported.
	needs string
}

// Want says what can be written.
func (o *Option) Want() string { return o.want() }

// Parse returns a value as it is reported, and whether it is one.
func (o *Option) Parse(text string) (string, bool) { return o.parse(text) }

// Same tells whether the kernel has what was wanted of it.
func (o *Option) Same(want, have string) bool { return o.same(want, have) }

// Instead is the option that it takes the place of, and that cannot be set together
// with it; empty if there is none.
func (o *Option) Instead() string { return o.instead }

// Needs is the option without which it has no effect, and is not reported; empty if there is none.
func (o *Option) Needs() string { return o.needs }

// Bool tells whether it is on or off.
func (o *Option) Bool() bool { return slices.Equal(wordsOf(o.unit).names, onOff.names) }

func wordsOf(u unit) words {
	switch w := u.(type) {
	case words:
		return w
	case present:
		return w.words
	}
	return words{}
}

// Option returns the option of a name; nil if there is none.
func (k *Kind) Option(name string) *Option {
	for i := range k.Options {
		if k.Options[i].Name == name {
			return &k.Options[i]
		}
	}
	return nil
}

// Names are those of the options.
func (k *Kind) Names() []string {
	names := make([]string, len(k.Options))
	for i := range k.Options {
		names[i] = k.Options[i].Name
	}
	return names
}

// KindOf returns the kind of a name; nil if it is not one of [Kinds].
func KindOf(name string) *Kind {
	for i := range Kinds {
		if Kinds[i].Name == name {
			return &Kinds[i]
		}
	}
	return nil
}

// most is that of a 32-bit number.
const most = math.MaxUint32

// codelReported is what is left of microseconds in CoDel's ticks of 1024 ns.
func codelReported(us int64) int64 { return us * 1000 / 1024 * 1024 / 1000 }

func codelTime() number {
	n := span(4, 0, most).as(micros)
	n.reported = codelReported
	return n
}

// codelNone is the threshold that CoDel has for none, in microseconds.
const codelNone = (math.MaxInt32*1024 + 999) / 1000

func codelThreshold() number {
	n := codelTime()
	n.max, n.none = codelNone-1, codelNone
	return n
}

// fqThreshold is that of fq, with a value of its own for none.
func fqThreshold() number {
	n := span(4, 0, most-1).as(micros)
	n.none = most
	return n
}

// gain is one of DualPI2, which the kernel keeps as a fraction of 2^32.
func gain() number {
	n := span(4, 1, math.MaxInt32).as(hertz256)
	n.reported = func(v int64) int64 {
		scaled := uint64(v) * most >> 2 / 1e9
		return int64(scaled * 1e9 << 2 / most)
	}
	return n
}

// jiffies is a time that is rounded up to a tick of the kernel's.
func jiffies() number {
	n := span(4, 0, most).as(micros)
	n.up = 10000
	return n
}

// priomap has bands before, as in struct tc_prio_qopt.
func priomap(bands uint32) list {
	return list{binary.NativeEndian.AppendUint32(nil, bands), 16, 1, 0, int64(bands) - 1}
}

// flowRate is a rate with a value of its own for none.
func flowRate() number {
	n := span(4, 1, most-1).as(rates)
	n.none = most
	return n
}

// signed is a number that can be below 0.
func signed(least, most int64) number {
	return number{size: 4, signed: true, min: least, max: most, scale: plain}
}

// cakeAutorate is an attribute that cake_mq has always off.
const cakeAutorate = 9

// cakeOptions are those of both kinds of cake.
func cakeOptions() []Option {
	return []Option{
		{Name: "bandwidth", attr: 2, unit: number{size: 8, max: 1e12, scale: rates}},
		{Name: "diffserv", attr: 3, unit: words{4, []string{"diffserv3", "diffserv4", "diffserv8", "besteffort", "precedence"}}},
		{Name: "atm", attr: 4, unit: words{4, []string{"noatm", "atm", "ptm"}}},
		{Name: "flows", attr: 5, unit: words{4, []string{"flowblind", "srchost", "dsthost", "hosts", "flows", "dual-srchost", "dual-dsthost", "triple-isolate"}}},
		// An overhead is the end of raw, but for a raw that comes with it.
		{Name: "overhead", attr: 6, unit: signed(-64, 256), with: "raw"},
		{Name: "rtt", attr: 7, unit: span(4, 1, most).as(micros)},
		{Name: "target", attr: 8, unit: span(4, 1, most).as(micros)},
		{Name: "memlimit", attr: 10, unit: span(4, 0, most).as(bytes)},
		{Name: "nat", attr: 11, unit: onOff},
		{Name: "raw", attr: 12, unit: present{onOff}, absent: "off", with: "overhead"},
		{Name: "wash", attr: 13, unit: onOff},
		{Name: "mpu", attr: 14, unit: span(4, 0, 256)},
		{Name: "ingress", attr: 15, unit: onOff},
		{Name: "ack_filter", attr: 16, unit: words{4, []string{"none", "filter", "aggressive"}}},
		{Name: "split_gso", attr: 17, unit: onOff},
		{Name: "fwmark", attr: 18, unit: span(4, 0, most)},
	}
}

// Kinds are those that are known, by name. Attributes and limits are those of
// include/uapi/linux/pkt_sched.h and net/sched of Linux 7.3.
var Kinds = []Kind{
	{Name: "bfifo", Config: "NET_SCHED", Classless: true, header: true, Options: []Option{{Name: "limit", unit: span(4, 1, most).as(bytes)}}},
	{Name: "cake", Config: "NET_SCH_CAKE", Classless: true, Options: append(cakeOptions(), Option{Name: "autorate_ingress", attr: cakeAutorate, unit: onOff})},
	{Name: "cake_mq", Config: "NET_SCH_CAKE, Linux 7", Multiqueue: true, ignored: []uint16{cakeAutorate}, Options: cakeOptions()},
	{Name: "dualpi2", Config: "NET_SCH_DUALPI2, Linux 6.17", Classless: true, Options: []Option{
		// A new limit brings a memory limit with it.
		{Name: "limit", attr: 1, unit: span(4, 1, most), with: "memory_limit"},
		{Name: "memory_limit", attr: 2, unit: span(4, 1, most).as(bytes)},
		{Name: "target", attr: 3, unit: span(4, 0, most).as(micros)},
		{Name: "tupdate", attr: 4, unit: span(4, 1, most/1000).as(micros)},
		{Name: "alpha", attr: 5, unit: gain()},
		{Name: "beta", attr: 6, unit: gain()},
		{Name: "step_packets", attr: 7, unit: span(4, 0, most), instead: "step_thresh"},
		{Name: "step_thresh", attr: 8, unit: span(4, 0, most/1000).as(micros), instead: "step_packets"},
		{Name: "min_qlen_step", attr: 9, unit: span(4, 0, most)},
		{Name: "coupling", attr: 10, unit: span(1, 1, 255)},
		{Name: "drop_overload", attr: 11, unit: small("off", "on")},
		{Name: "drop_early", attr: 12, unit: small("off", "on")},
		{Name: "classic_protection", attr: 13, unit: span(1, 0, 100)},
		{Name: "ecn", attr: 14, unit: small("", "l4s", "classic", "any")},
		{Name: "split_gso", attr: 15, unit: small("off", "on")},
	}},
	{Name: "fq", Config: "NET_SCH_FQ", Classless: true, Options: []Option{
		{Name: "limit", attr: 1, unit: span(4, 1, most)},
		{Name: "flow_limit", attr: 2, unit: span(4, 1, most)},
		{Name: "quantum", attr: 3, unit: span(4, 256, 1<<20).as(bytes)},
		{Name: "initial_quantum", attr: 4, unit: span(4, 0, math.MaxInt32).as(bytes)},
		{Name: "pacing", attr: 5, unit: onOff},
		{Name: "maxrate", attr: 7, unit: flowRate()},
		{Name: "buckets_log", attr: 8, unit: span(4, 1, 18)},
		{Name: "refill_delay", attr: 9, unit: jiffies()},
		{Name: "orphan_mask", attr: 10, unit: span(4, 0, most)},
		{Name: "low_rate_threshold", attr: 11, unit: span(4, 0, most).as(rates)},
		{Name: "ce_threshold", attr: 12, unit: fqThreshold()},
		{Name: "timer_slack", attr: 13, unit: span(4, 0, most).as(nanos)},
		{Name: "horizon", attr: 14, unit: span(4, 0, most).as(micros)},
		{Name: "horizon_drop", attr: 15, unit: small("off", "on")},
		{Name: "priomap", attr: 16, unit: priomap(3)},
		{Name: "weights", attr: 17, unit: list{nil, 3, 4, 16384, math.MaxInt32}},
		{Name: "offload_horizon", attr: 18, unit: span(4, 0, most).as(micros)},
	}},
	{Name: "fq_codel", Config: "NET_SCH_FQ_CODEL", Classless: true, Options: []Option{
		{Name: "target", attr: 1, unit: codelTime()},
		{Name: "limit", attr: 2, unit: span(4, 1, most)},
		{Name: "interval", attr: 3, unit: codelTime()},
		{Name: "ecn", attr: 4, unit: onOff},
		{Name: "flows", attr: 5, unit: span(4, 1, 65536), initial: true},
		{Name: "quantum", attr: 6, unit: span(4, 256, 1<<20).as(bytes)},
		{Name: "ce_threshold", attr: 7, unit: codelThreshold(), absent: "none"},
		{Name: "drop_batch", attr: 8, unit: span(4, 1, most)},
		{Name: "memory_limit", attr: 9, unit: span(4, 1, 1<<31).as(bytes)},
		{Name: "ce_threshold_selector", attr: 10, unit: span(1, 0, 255), absent: "0", needs: "ce_threshold"},
		{Name: "ce_threshold_mask", attr: 11, unit: span(1, 0, 255), absent: "0", needs: "ce_threshold"},
	}},
	htb(),
	{Name: "mq", Config: "NET_SCHED", fixed: true, Multiqueue: true},
	{Name: "noqueue", Config: "NET_SCHED", fixed: true},
	{Name: "pfifo", Config: "NET_SCHED", Classless: true, header: true, Options: []Option{{Name: "limit", unit: span(4, 1, most)}}},
	{Name: "pfifo_fast", Config: "NET_SCHED", Classless: true, fixed: true},
}

// encode returns the value of TCA_OPTIONS for options; empty if there are none.
func (k *Kind) encode(options map[string]string) ([]byte, error) {
	switch {
	case k.pack != nil:
		return k.pack(k, options)
	case len(options) == 0:
		return nil, nil
	}
	ae := netlink.NewAttributeEncoder()
	for _, name := range slices.Sorted(maps.Keys(options)) {
		o := k.Option(name)
		if o == nil {
			return nil, fmt.Errorf("%s has no %s", k.Name, name)
		}
		text, ok := o.parse(options[name])
		switch {
		case !ok:
			return nil, fmt.Errorf("%s %s: %q: want %s", k.Name, name, options[name], o.want())
		case k.header:
			return o.encode(text), nil
		case o.isPresent() && text == "off":
			continue
		}
		ae.Bytes(o.attr, o.encode(text))
	}
	return ae.Encode()
}

func (o *Option) isPresent() bool { _, ok := o.unit.(present); return ok }

// decode returns the options in the value of TCA_OPTIONS, and whether all of it is
// known.
func (k *Kind) decode(b []byte) (map[string]string, bool) {
	out, known := map[string]string{}, true
	put := func(o *Option, value []byte) {
		text, ok := "", false
		if o != nil {
			text, ok = o.decode(value)
		}
		if !ok {
			known = false
			return
		}
		out[o.Name] = text
	}
	switch {
	case k.unpack != nil:
		return k.unpack(k, b)
	case k.header:
		put(&k.Options[0], b)
		return out, known
	case len(k.Options) == 0:
		return out, true // what pfifo_fast says of itself is always the same
	}
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return out, false
	}
	for ad.Next() {
		if i := slices.IndexFunc(k.Options, func(o Option) bool { return o.attr == ad.Type() }); i >= 0 {
			put(&k.Options[i], ad.Bytes())
		} else if len(ad.Bytes()) > 0 && !slices.Contains(k.ignored, ad.Type()) { // and no padding
			known = false
		}
	}
	for i := range k.Options {
		o := &k.Options[i]
		if _, there := out[o.Name]; !there && o.absent != "" {
			out[o.Name] = o.absent
		}
	}
	return out, known && ad.Err() == nil
}
