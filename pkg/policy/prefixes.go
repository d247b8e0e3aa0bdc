// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// prefixes divides a range of keys, both ends included, into the fewest
// prefixes, as keys of an LPM trie: the prefix length in bits, in host byte
// order, and the key.
func prefixes(from, to []byte) [][]byte {
	if len(from) <= 4 {
		return shortPrefixes(from, to)
	}
	n := uint(len(from) * 8)
	lo, hi := new(big.Int).SetBytes(from), new(big.Int).SetBytes(to)
	one := big.NewInt(1)
	var out [][]byte
	for lo.Cmp(hi) <= 0 {
		// The largest block that begins at lo and does not go beyond hi.
		host := n
		if lo.Sign() != 0 {
			host = lo.TrailingZeroBits()
		}
		rest := new(big.Int).Sub(hi, lo)
		rest.Add(rest, one)
		host = min(host, uint(rest.BitLen()-1))
		key := binary.NativeEndian.AppendUint32(nil, uint32(n-host))
		out = append(out, append(key, lo.FillBytes(make([]byte, len(from)))...))
		lo.Add(lo, new(big.Int).Lsh(one, host))
	}
	return out
}

// shortPrefixes is prefixes for keys that are numbers.
func shortPrefixes(from, to []byte) [][]byte {
	lo, hi := bigEndian.toNumber(from), bigEndian.toNumber(to)
	var out [][]byte
	for lo <= hi {
		host := min(bits.TrailingZeros64(lo|1<<(8*len(from))), bits.Len64(hi-lo+1)-1)
		key := make([]byte, prefixLen+len(from))
		binary.NativeEndian.PutUint32(key, uint32(8*len(from)-host))
		for i, v := len(key)-1, lo; i >= prefixLen; i, v = i-1, v>>8 {
			key[i] = byte(v)
		}
		out = append(out, key)
		lo += 1 << host
	}
	return out
}
