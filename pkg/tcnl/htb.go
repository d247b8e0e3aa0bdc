// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Class is a class of an htb.
type Class struct {
	// ID and Parent are identifiers; the parent of one at the top is the root's, all
	// ones.
	ID, Parent uint32
	// Options are the values of [ClassOptions].
	Options map[string]string
	// Strange says what is not known of it; empty if all is.
	Strange string
}

// Top tells whether a class is right below its qdisc.
func (c *Class) Top() bool { return c.Parent == rootParent || c.Parent&0xffff == 0 }

// Attributes of htb and its classes.
const (
	htbParms      = 1
	htbInit       = 2
	htbDirectQlen = 5
	htbRate64     = 6
	htbCeil64     = 7
)

const (
	htbVersion  = 3
	htbGlobLen  = 20 // struct tc_htb_glob
	htbClassLen = 44 // struct tc_htb_opt
)

// minor is the lower half of a class's identifier, as tc writes it.
var minor = scale{"the minor number of a class in hexadecimal digits", func(s string) (int64, bool) {
	v, err := strconv.ParseUint(s, 16, 16)
	return int64(v), err == nil
}, func(v int64) string { return strconv.FormatInt(v, 16) }}

func htb() Kind {
	return Kind{Name: "htb", Config: "NET_SCH_HTB", fixed: true, Classful: true, pack: packHTB, unpack: unpackHTB, Options: []Option{
		{Name: "default", unit: span(4, 0, 0xffff).as(minor)},
		{Name: "r2q", unit: span(4, 1, most)},
		{Name: "direct_qlen", unit: span(4, 0, most)},
	}}
}

// packHTB makes struct tc_htb_glob and what is beside it.
func packHTB(k *Kind, options map[string]string) ([]byte, error) {
	number := func(name, otherwise string) uint32 {
		text := options[name]
		if text == "" {
			text = otherwise
		}
		return binary.NativeEndian.Uint32(k.Option(name).encode(text))
	}
	b := binary.NativeEndian.AppendUint32(nil, htbVersion)
	b = binary.NativeEndian.AppendUint32(b, number("r2q", "10"))
	b = binary.NativeEndian.AppendUint32(b, number("default", "0"))
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(htbInit, append(b, make([]byte, htbGlobLen-len(b))...))
	if options["direct_qlen"] != "" {
		ae.Uint32(htbDirectQlen, number("direct_qlen", ""))
	}
	return ae.Encode()
}

func unpackHTB(k *Kind, b []byte) (map[string]string, bool) {
	out, known := map[string]string{}, true
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return out, false
	}
	for ad.Next() {
		switch b := ad.Bytes(); {
		case ad.Type() == htbInit && len(b) == htbGlobLen:
			out["r2q"], _ = k.Option("r2q").decode(b[4:8])
			out["default"], _ = k.Option("default").decode(b[8:12])
		case ad.Type() == htbDirectQlen:
			out["direct_qlen"], _ = k.Option("direct_qlen").decode(b)
		default:
			known = false // offload
		}
	}
	return out, known && ad.Err() == nil
}

// ClassOptions are those of the classes of htb.
var ClassOptions = Kind{Name: "htb", Options: []Option{
	{Name: "rate", unit: classRate},
	{Name: "ceil", unit: classRate},
	{Name: "burst", unit: burst{}},
	{Name: "cburst", unit: burst{}},
	{Name: "quantum", unit: span(4, 1, math.MaxInt32).as(bytes)},
	{Name: "prio", unit: span(4, 0, 7)},
	{Name: "overhead", unit: span(4, 0, 0xffff)},
	{Name: "mpu", unit: span(4, 0, 0xffff)},
	{Name: "linklayer", unit: words{1, []string{"", "ethernet", "atm"}}},
}}

var classRate = number{size: 8, min: 1, max: 1e12, scale: rates}

// burst is a size that the kernel has as the time that it takes at the rate, in ticks
// of 64 ns. What it is not a whole number of is behind it: of the ticks, or of the
// bytes that one tick has at a high rate.
type burst struct{}

var burstBytes = span(4, 1, most).as(bytes)

const (
	tick       = 64 // ns, PSCHED_SHIFT
	burstTicks = "%s (%d ticks)"
	burstSteps = "%s (in steps of %d)"
)

func (burst) want() string { return burstBytes.want() }

func (burst) parse(text string) (string, bool) { return burstBytes.parse(text) }

func (burst) encode(string) []byte { return nil } // needs the rate: see ticksOf

func (burst) decode([]byte) (string, bool) { return "", false }

func (burst) same(want, have string) bool {
	var step int64
	size, behind, _ := strings.Cut(have, " ")
	_, _ = fmt.Sscanf(behind, "(in steps of %d)", &step)
	w, ok := burstBytes.value(want)
	h, ok2 := burstBytes.value(size)
	return ok && ok2 && w <= h && w >= h-step
}

func ticksOf(text string, rate int64) uint32 {
	var ticks uint32
	size, behind, _ := strings.Cut(text, " ")
	if n, _ := fmt.Sscanf(behind, "(%d ticks)", &ticks); n == 1 {
		return ticks
	}
	v, _ := burstBytes.value(size)
	return uint32(min(math.Ceil(float64(v)*1e9/float64(rate)/tick), most))
}

func burstText(ticks uint32, rate int64) string {
	size := math.Floor(float64(ticks) * tick * float64(rate) / 1e9)
	for _, n := range []float64{size, size - 1} { // which of them it was rounded from
		text := burstBytes.text(int64(n))
		switch step := rate * tick / 1e9; {
		case ticksOf(text, rate) != ticks:
		case step > 0:
			return fmt.Sprintf(burstSteps, text, step+1)
		default:
			return text
		}
	}
	return fmt.Sprintf(burstTicks, burstBytes.text(int64(size)), ticks)
}

// defaultBurst is that of tc(8): a packet.
const defaultBurst = "1600"

// packClass makes struct tc_htb_opt and what is beside it.
func packClass(options map[string]string) ([]byte, error) {
	get := func(name, otherwise string) string {
		if v, ok := options[name]; ok {
			return v
		}
		return otherwise
	}
	number := func(name, otherwise string) uint32 {
		v, _ := strconv.ParseUint(get(name, otherwise), 10, 32)
		return uint32(v)
	}
	rate, ok := classRate.value(options["rate"])
	ceil, ok2 := classRate.value(get("ceil", options["rate"]))
	if !ok || !ok2 {
		return nil, fmt.Errorf("rate %q, ceil %q: want %s", options["rate"], options["ceil"], classRate.want())
	}
	spec := func(rate int64) []byte {
		b := []byte{0, byte(ClassOptions.Option("linklayer").unit.(words).index(get("linklayer", "ethernet")))}
		b = binary.NativeEndian.AppendUint16(b, uint16(number("overhead", "0")))
		b = binary.NativeEndian.AppendUint16(b, 0)
		b = binary.NativeEndian.AppendUint16(b, uint16(number("mpu", "0")))
		return binary.NativeEndian.AppendUint32(b, uint32(min(rate, most)))
	}
	b := append(spec(rate), spec(ceil)...)
	quantum, _ := bytes.parse(get("quantum", "0"))
	for _, v := range []uint32{
		ticksOf(get("burst", defaultBurst), rate), ticksOf(get("cburst", defaultBurst), ceil), uint32(quantum), 0, number("prio", "0"),
	} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(htbParms, b)
	if rate > most {
		ae.Uint64(htbRate64, uint64(rate))
	}
	if ceil > most {
		ae.Uint64(htbCeil64, uint64(ceil))
	}
	return ae.Encode()
}

// classOf reads a class.
func classOf(m *message) Class {
	c := Class{ID: m.handle, Parent: m.parent, Options: map[string]string{}, Strange: "has a class that is not known"}
	ad, err := netlink.NewAttributeDecoder(m.options)
	if err != nil {
		return c
	}
	var parms []byte
	var rate, ceil int64
	for ad.Next() {
		switch ad.Type() {
		case htbParms:
			parms = ad.Bytes()
		case htbRate64:
			rate = int64(ad.Uint64())
		case htbCeil64:
			ceil = int64(ad.Uint64())
		}
	}
	if len(parms) != htbClassLen {
		return c
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(parms[at:]) }
	half := func(at int) uint16 { return binary.NativeEndian.Uint16(parms[at:]) }
	const ceilAt, rest = 12, 24
	rate, ceil = max(rate, int64(word(8))), max(ceil, int64(word(ceilAt+8)))
	layer, ok := ClassOptions.Option("linklayer").decode(parms[1:2])
	if !ok || !slices.Equal(parms[:8], parms[ceilAt:ceilAt+8]) {
		return c
	}
	c.Strange = ""
	c.Options = map[string]string{
		"rate": rates.format(rate), "ceil": rates.format(ceil), "burst": burstText(word(rest), rate), "cburst": burstText(word(rest+4), ceil),
		"quantum": bytes.format(int64(word(rest + 8))), "prio": strconv.Itoa(int(word(rest + 16))),
		"overhead": strconv.Itoa(int(half(2))), "mpu": strconv.Itoa(int(half(6))), "linklayer": layer,
	}
	return c
}

// classes reads those of an htb, parents before their children.
func (c *Client) classes(index int) ([]Class, error) {
	list, err := c.dump(unix.RTM_GETTCLASS, &message{index: index})
	if err != nil {
		return nil, fmt.Errorf("classes: %w", err)
	}
	var out []Class
	for i := range list {
		if list[i].kind == "htb" {
			out = append(out, classOf(&list[i]))
		}
	}
	return Sorted(out), nil
}

// Sorted are classes with parents before their children, and else by number. One
// whose parent is not among them comes last.
func Sorted(list []Class) []Class {
	depth := func(c Class) int {
		n := 0
		for ; !c.Top() && n <= len(list); n++ {
			i := slices.IndexFunc(list, func(p Class) bool { return p.ID == c.Parent })
			if i < 0 {
				return len(list)
			}
			c = list[i]
		}
		return n
	}
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b Class) int {
		if d := depth(a) - depth(b); d != 0 {
			return d
		}
		return int(int64(a.ID) - int64(b.ID))
	})
	return out
}

// PutClass makes a class, or changes the options that differ where have is now.
func (c *Client) PutClass(index int, have *Class, want Class) error {
	options := maps.Clone(want.Options)
	if have != nil {
		if len(ClassOptions.changed(have.Options, want.Options)) == 0 {
			return nil
		}
		for name, v := range have.Options {
			if _, ok := options[name]; !ok {
				options[name] = v
			}
		}
	}
	b, err := packClass(options)
	if err != nil {
		return err
	}
	return c.do(unix.RTM_NEWTCLASS, netlink.Create, &message{index: index, handle: want.ID, parent: want.Parent, kind: "htb", options: b, nested: true})
}

// RemoveClass takes away a class without children.
func (c *Client) RemoveClass(index int, class Class) error {
	return c.do(unix.RTM_DELTCLASS, 0, &message{index: index, handle: class.ID, parent: class.Parent})
}
