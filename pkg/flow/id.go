// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"encoding/binary"
	"math/bits"
)

// id is the flow's number, of the tuple that its first packet came with: Bob Jenkins's lookup3 of it, as jhash2()
// of the kernel. Rules that ask for ct id find the same: pkg/policy/ct.go.
func (t *rawTuple) id() uint32 {
	var b [tupleSize]byte
	// The numbers of a tuple are in network byte order but for the zone's.
	if _, err := binary.Encode(b[:], binary.NativeEndian, t); err != nil {
		panic(err) // of a fixed size
	}
	const begin = 0xdeadbeef + tupleSize
	h := [3]uint32{begin, begin, begin}
	for i := 0; i < tupleSize; i += 4 {
		h[i/4%3] += binary.NativeEndian.Uint32(b[i:])
		if i/4%3 == 2 {
			hashMix(&h)
		}
	}
	hashFinal(&h)
	return h[2]
}

// tupleSize is that of struct tuple of bpf/lib/types.h.
const tupleSize = 40

// hashMix is __jhash_mix().
func hashMix(h *[3]uint32) {
	for i, n := range []int{4, 6, 8, 16, 19, 4} {
		a, b, c := &h[i%3], &h[(i+1)%3], &h[(i+2)%3]
		*a -= *c
		*a ^= bits.RotateLeft32(*c, n)
		*c += *b
	}
}

// hashFinal is __jhash_final().
func hashFinal(h *[3]uint32) {
	for i, n := range []int{14, 11, 25, 16, 4, 14, 24} {
		b, c := h[(i+1)%3], &h[(i+2)%3]
		*c ^= b
		*c -= bits.RotateLeft32(b, n)
	}
}
