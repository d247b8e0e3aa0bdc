// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Mix is what the generator's frames differ in. The zero Mix are the shortest frames
// there are, of all flows in turn.
type Mix struct {
	// Lengths on the wire of a cycle of frames, with the check sequence; none: the
	// shortest. What is too short for its family gets the least that it has.
	Lengths []int
	// Zipf is the exponent of the distribution that draws each packet's flow, greater
	// than 1: the k-th of them comes with a probability of k to the minus Zipf. 0:
	// each flow comes as often.
	Zipf float64
}

const (
	fcsLen    = 4    // the frame check sequence, which no program sees
	maxOnWire = 1518 // what Ethernet has without a tag: MAX_FRAME_LEN of bpf/packet.h
	maxCycle  = 16   // LENGTHS of bpf/traffic.c
	maxDraws  = 1 << 22
)

// imix is the simple IMIX of vendors' data sheets: seven packets of at most 40 bytes, four
// of 576 and one of 1500, which are frames of 64, 594 and 1518 bytes. RFC 6985 says how to name such a
// mix, and none of its own is standard.
var imix = []int{64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64}

const imixName = "imix"

// parseLengths reads what people call a cycle of frames: lengths on the wire, or the name of a mix.
func parseLengths(words []string) ([]int, error) {
	if slices.Equal(words, []string{imixName}) {
		return imix, nil
	}
	if len(words) > maxCycle {
		return nil, fmt.Errorf("%d lengths of frames: want at most %d", len(words), maxCycle)
	}
	var lengths []int
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil || n < FrameLen+fcsLen || n > maxOnWire {
			return nil, fmt.Errorf("length %q of a frame: want %d to %d bytes on the wire, or %s", w, FrameLen+fcsLen, maxOnWire, imixName)
		}
		lengths = append(lengths, n)
	}
	return lengths, nil
}

// String names the mix; it is empty for the zero one.
func (m Mix) String() string {
	var parts []string
	switch {
	case slices.Equal(m.Lengths, imix):
		parts = append(parts, imixName)
	case len(m.Lengths) > 0:
		parts = append(parts, strings.Trim(fmt.Sprint(m.Lengths), "[]")+" bytes")
	}
	if m.Zipf != 0 {
		parts = append(parts, fmt.Sprintf("zipf %g", m.Zipf))
	}
	return strings.Join(parts, ", ")
}

func (m Mix) check() error {
	if m.Zipf != 0 && !(m.Zipf > 1 && m.Zipf <= 10) {
		return fmt.Errorf("exponent %g of a zipf distribution: want more than 1, at most 10", m.Zipf)
	}
	return nil
}

// frames are the lengths of the cycle as programs see them.
func (m Mix) frames(ipv6 bool) []int {
	var out []int
	for _, n := range m.Lengths {
		out = append(out, max(n-fcsLen, frameLen(ipv6)))
	}
	return out
}

// longest is the length of the longest frame, as programs see it.
func (m Mix) longest(ipv6 bool) int {
	return slices.Max(append(m.frames(ipv6), frameLen(ipv6)))
}

// draw draws so many flows, of a power of two, the same each time. Frequent ones
// are no neighbours of each other.
func (m Mix) draw(flows int) []uint32 {
	const odd = 0x9e3779b1 // permutes the numbers below a power of two
	z := rand.NewZipf(rand.New(rand.NewPCG(1, uint64(flows))), m.Zipf, 1, uint64(flows-1))
	draws := make([]uint32, min(maxDraws, max(4*flows, 1<<16)))
	for i := range draws {
		draws[i] = uint32(z.Uint64()*odd) & uint32(flows-1)
	}
	return draws
}
