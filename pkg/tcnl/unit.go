// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unit is how the values of an option are written, and what they are in a netlink
// attribute.
type unit interface {
	// want says what can be written.
	want() string
	// parse returns a text as decode writes it.
	parse(text string) (string, bool)
	encode(text string) []byte
	// decode returns text that encode makes the same value of.
	decode(b []byte) (string, bool)
	// same tells whether the kernel has what was wanted of it.
	same(want, have string) bool
}

// number is a whole number of some size.
type number struct {
	size     int // bytes
	signed   bool
	min, max int64
	scale    scale
	// none is written "none": 0 means that there is no such value.
	none int64
	// reported is what the kernel says of a value it was given; nil: that value.
	// No more than two neighbours are reported as the same.
	reported func(int64) int64
	// up is how much the kernel rounds up by at most.
	up int64
}

// scale is how a number is written.
type scale struct {
	what   string // after "from ... to ..."
	parse  func(string) (int64, bool)
	format func(int64) string
}

// span is a number from least to most in some bytes.
func span(size int, least, most int64) number {
	return number{size: size, min: least, max: most, scale: plain}
}

func (n number) as(s scale) number { n.scale = s; return n }

func (n number) want() string {
	s := fmt.Sprintf("%s from %s to %s", n.scale.what, n.scale.format(n.min), n.scale.format(n.max))
	if n.none != 0 {
		s += ", or none"
	}
	return s
}

func (n number) value(text string) (int64, bool) {
	if text == "none" && n.none != 0 {
		return n.none, true
	}
	v, ok := n.scale.parse(text)
	return v, ok && v >= n.min && v <= n.max
}

func (n number) text(v int64) string {
	if v == n.none && n.none != 0 {
		return "none"
	}
	return n.scale.format(v)
}

func (n number) parse(text string) (string, bool) {
	v, ok := n.value(text)
	return n.text(v), ok
}

func (n number) encode(text string) []byte {
	v, _ := n.value(text)
	b := make([]byte, 8)
	binary.NativeEndian.PutUint64(b, uint64(v))
	if n.size < 8 && binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		return b[8-n.size:]
	}
	return b[:n.size]
}

func (n number) decode(b []byte) (string, bool) {
	var v int64
	switch {
	case len(b) != n.size:
		return "", false
	case n.size == 1:
		v = int64(b[0])
	case n.size == 4 && n.signed:
		v = int64(int32(binary.NativeEndian.Uint32(b)))
	case n.size == 4:
		v = int64(binary.NativeEndian.Uint32(b))
	default:
		v = int64(binary.NativeEndian.Uint64(b))
	}
	if n.reported != nil && n.reported(v) != v {
		v++
	}
	return n.text(v), true
}

func (n number) same(want, have string) bool {
	w, ok := n.value(want)
	h, ok2 := n.value(have)
	if !ok || !ok2 {
		return want == have
	}
	if n.reported != nil {
		w, h = n.reported(w), n.reported(h)
	}
	return w == h || h > w && h-w <= n.up
}

// Scales.
var (
	plain = scale{"a whole number", func(s string) (int64, bool) {
		v, err := strconv.ParseInt(s, 10, 64)
		return v, err == nil && strconv.FormatInt(v, 10) == s
	}, func(v int64) string { return strconv.FormatInt(v, 10) }}
	micros = durations(time.Microsecond)
	nanos  = durations(time.Nanosecond)
	bytes  = scale{"a size", parseBytes, formatBytes}
	rates  = scale{"a rate", parseRate, formatRate}
	// hertz256 is 256ths of a Hertz.
	hertz256 = scale{"a number", func(s string) (int64, bool) {
		v, err := strconv.ParseFloat(s, 64)
		return int64(math.Round(v * 256)), err == nil && v >= 0 && v < 1<<31
	}, func(v int64) string { return strconv.FormatFloat(float64(v)/256, 'f', -1, 64) }}
)

func durations(tick time.Duration) scale {
	return scale{"a time", func(s string) (int64, bool) {
		d, err := time.ParseDuration(s)
		return int64(d / tick), err == nil && d%tick == 0
	}, func(v int64) string { return strings.Replace((time.Duration(v) * tick).String(), "µ", "u", 1) }}
}

var sizes = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseBytes(s string) (int64, bool) {
	unit := int64(1)
	for _, z := range sizes {
		if before, ok := strings.CutSuffix(s, z.suffix); ok {
			s, unit = before, z.bytes
			break
		}
	}
	v, ok := plain.parse(s)
	return v * unit, ok && v >= 0 && v < 1<<33
}

func formatBytes(v int64) string {
	for _, z := range sizes {
		if v >= z.bytes && v%z.bytes == 0 {
			return strconv.FormatInt(v/z.bytes, 10) + z.suffix
		}
	}
	return strconv.FormatInt(v, 10)
}

var bits = []struct {
	suffix string
	bits   float64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// parseRate returns the bytes in a second of a rate in bits.
func parseRate(s string) (int64, bool) {
	for _, u := range bits {
		if before, ok := strings.CutSuffix(s, u.suffix); ok {
			v, err := strconv.ParseFloat(before, 64)
			return int64(math.Round(v * u.bits / 8)), err == nil && v >= 0 && v < 1e13
		}
	}
	return 0, s == "unlimited"
}

func formatRate(v int64) string {
	if v == 0 {
		return "unlimited"
	}
	for _, u := range bits {
		if n := float64(v) * 8 / u.bits; n >= 1 && n*1000 == math.Trunc(n*1000) {
			return strconv.FormatFloat(n, 'f', -1, 64) + u.suffix
		}
	}
	return strconv.FormatInt(v*8, 10) + "bit"
}

// words are numbers with a name for each, from 0.
type words struct {
	size  int
	names []string
}

var onOff = words{4, []string{"off", "on"}}

// small are words in one byte.
func small(names ...string) words { return words{1, names} }

func (w words) index(text string) int {
	return slices.IndexFunc(w.names, func(n string) bool { return n != "" && n == text })
}

func (w words) want() string {
	if slices.Equal(w.names, onOff.names) {
		return "true or false"
	}
	names := slices.DeleteFunc(slices.Clone(w.names), func(n string) bool { return n == "" })
	return "one of " + strings.Join(names, ", ")
}

func (w words) parse(text string) (string, bool) { return text, w.index(text) >= 0 }

func (w words) encode(text string) []byte {
	return number{size: w.size, max: int64(len(w.names)), scale: plain}.encode(strconv.Itoa(w.index(text)))
}

func (w words) decode(b []byte) (string, bool) {
	s, ok := number{size: w.size, scale: plain}.decode(b)
	i, err := strconv.Atoi(s)
	if !ok || err != nil || i >= len(w.names) || w.names[i] == "" {
		return "", false
	}
	return w.names[i], true
}

func (w words) same(want, have string) bool { return want == have }

// list is some numbers after others that are always the same.
type list struct {
	before   []byte
	count    int
	size     int
	min, max int64
}

func (l list) want() string {
	return fmt.Sprintf("%d whole numbers from %d to %d, separated by spaces", l.count, l.min, l.max)
}

func (l list) one() number { return span(l.size, l.min, l.max) }

func (l list) parse(text string) (string, bool) {
	parts := strings.Fields(text)
	for _, p := range parts {
		if _, ok := l.one().parse(p); !ok {
			return "", false
		}
	}
	return strings.Join(parts, " "), len(parts) == l.count
}

func (l list) encode(text string) []byte {
	out := slices.Clone(l.before)
	for _, p := range strings.Fields(text) {
		out = append(out, l.one().encode(p)...)
	}
	return out
}

func (l list) decode(b []byte) (string, bool) {
	if len(b) != len(l.before)+l.count*l.size {
		return "", false
	}
	var parts []string
	for b = b[len(l.before):]; len(b) > 0; b = b[l.size:] {
		s, _ := l.one().decode(b[:l.size])
		parts = append(parts, s)
	}
	return strings.Join(parts, " "), true
}

func (l list) same(want, have string) bool { return want == have }

// present is an attribute that is there or not.
type present struct{ words }

func (p present) decode([]byte) (string, bool) { return "on", true }
