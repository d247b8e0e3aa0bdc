// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// concatSeparator stands between the fields of a concatenation.
const concatSeparator = " . "

// String returns "family table name".
func (s *Set) String() string { return fmt.Sprintf("%v %s %s", s.Family, s.Table, s.Name) }

// Encode converts an element as nft writes it, such as "192.0.2.1",
// "2001:db8::/32", "1000-2000" or "192.0.2.1 . 443", to keys of the set's map.
// A range may take several.
func (s *Set) Encode(element string) ([][]byte, error) {
	if s.Interval {
		from, to, err := s.parseSpan(s.fields[0], strings.TrimSpace(element))
		if err != nil {
			return nil, s.elementError(element, err)
		}
		return prefixes(from, to), nil
	}
	parts := strings.Split(element, concatSeparator)
	if len(parts) != len(s.fields) {
		return nil, s.elementError(element, fmt.Errorf("%d parts", len(parts)))
	}
	key := make([]byte, s.keySize())
	for i, f := range s.fields {
		b, err := textOf(f).parse(s, f, strings.TrimSpace(parts[i]))
		if err != nil {
			return nil, s.elementError(element, err)
		}
		copy(key[f.offset:], b)
	}
	return [][]byte{key}, nil
}

// parseSpan parses a value of a field, a prefix of addresses, or a range.
func (s *Set) parseSpan(f keyField, text string) (from, to []byte, err error) {
	parse := textOf(f).parse
	if p, err := netip.ParsePrefix(text); err == nil && strings.HasSuffix(f.Type, "_addr") {
		p = p.Masked()
		if from, err = parse(s, f, p.Addr().String()); err != nil {
			return nil, nil, err
		}
		to = bytes.Clone(from)
		for bit := p.Bits(); bit < 8*len(to); bit++ {
			to[bit/8] |= 0x80 >> (bit % 8)
		}
		return from, to, nil
	}
	v, err := parse(s, f, text)
	if err == nil {
		return v, v, nil
	}
	// Names have hyphens too: any of them may be the one between the ends.
	for i := range text {
		if text[i] != '-' {
			continue
		}
		var errFrom, errTo error
		from, errFrom = parse(s, f, strings.TrimSpace(text[:i]))
		to, errTo = parse(s, f, strings.TrimSpace(text[i+1:]))
		if errFrom == nil && errTo == nil {
			err = nil
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if bytes.Compare(from, to) > 0 {
		return nil, nil, errors.New("the range ends before it begins")
	}
	return from, to, nil
}

// RangeText returns a range of an interval set as nft writes it.
func (s *Set) RangeText(r nft.Range) string {
	f := s.fields[0]
	print := textOf(f).print
	return print(s, f, r.From) + "-" + print(s, f, r.To)
}

func (s *Set) elementError(element string, err error) error {
	wants := make([]string, len(s.fields))
	for i, f := range s.fields {
		wants[i] = textOf(f).want
		if s.Interval {
			wants[i] += ", or a range with a hyphen"
			if strings.HasSuffix(f.Type, "_addr") {
				wants[i] += " or a prefix"
			}
		}
	}
	return fmt.Errorf("set %v: element %q: %w; want %s", s, element, err, strings.Join(wants, concatSeparator))
}

// Decode converts a key of the set's map to the text of the element.
func (s *Set) Decode(key []byte) (string, error) {
	if s.classes {
		if len(key) != s.rangeSize() {
			return "", fmt.Errorf("set %v: a key of %d bytes", s, len(key))
		}
		return s.keyRangeText(nft.Range{From: key[:s.keyLen], To: key[s.keyLen:]}), nil
	}
	if s.Interval {
		if len(key) != prefixLen+s.keySize() {
			return "", fmt.Errorf("set %v: a key of %d bytes", s, len(key))
		}
		bits := int(binary.NativeEndian.Uint32(key))
		return s.printPrefix(key[prefixLen:], bits)
	}
	if len(key) != s.keySize() {
		return "", fmt.Errorf("set %v: a key of %d bytes", s, len(key))
	}
	parts := make([]string, len(s.fields))
	for i, f := range s.fields {
		parts[i] = textOf(f).print(s, f, key[f.offset:f.offset+f.len])
	}
	return strings.Join(parts, concatSeparator), nil
}

// printPrefix prints a prefix of an address as such, and of another type as a
// range.
func (s *Set) printPrefix(key []byte, bits int) (string, error) {
	f := s.fields[0]
	print := textOf(f).print
	if bits > 8*len(key) {
		return "", fmt.Errorf("set %v: a prefix of %d bits", s, bits)
	}
	first := print(s, f, key)
	if bits == 8*len(key) {
		return first, nil
	}
	if f.Type == "ipv4_addr" || f.Type == "ipv6_addr" {
		return fmt.Sprintf("%s/%d", first, bits), nil
	}
	last := bytes.Clone(key)
	for bit := bits; bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return first + "-" + print(s, f, last), nil
}
