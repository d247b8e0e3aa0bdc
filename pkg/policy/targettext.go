// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// targetSeparator stands between the key of an element and what it leads to.
const targetSeparator = " : "

// keyOf returns the key of an element that may have a verdict or data.
func (s *Set) keyOf(element string) string {
	if at := strings.LastIndex(element, targetSeparator); at >= 0 && (s.isMap || s.dataLen > 0) {
		return element[:at]
	}
	return element
}

// splitElement takes the verdict, or the data, off an element of a map.
func (s *Set) splitElement(element string) (key string, verdict int, data []byte, err error) {
	if !s.isMap && s.dataLen == 0 {
		return strings.TrimSpace(element), 0, nil, nil
	}
	key = s.keyOf(element)
	if key == element {
		want := "verdict"
		if s.dataLen > 0 {
			want = "data"
		}
		return "", 0, nil, fmt.Errorf("set %v: element %q: want \"key : %s\"", s, element, want)
	}
	target := strings.Join(strings.Fields(element[len(key)+len(targetSeparator):]), " ")
	key = strings.TrimSpace(key)
	if s.dataLen > 0 {
		if data, err = s.parseData(target); err != nil {
			err = fmt.Errorf("set %v: element %q: data %q: %w; want %s", s, element, target, err, s.wantData())
		}
		return key, 0, data, err
	}
	var known []string
	for i, v := range s.verdicts {
		if v.String() == target {
			return key, i, nil, nil
		}
		known = append(known, v.String())
	}
	return "", 0, nil, fmt.Errorf("set %v: element %q: verdict %q is none of those of the ruleset: %s", s, element, target, strings.Join(known, ", "))
}

// targetText is what stands behind the key of an element with this value.
func (s *Set) targetText(value []byte) string {
	switch {
	case s.dataLen > 0:
		return targetSeparator + s.dataText(value[dataOffset:dataOffset+s.dataLen])
	case s.isMap:
		if i := binary.NativeEndian.Uint32(value[verdictOffset:]); int(i) < len(s.verdicts) {
			return targetSeparator + s.verdicts[i].String()
		}
	}
	return ""
}

// dataFields returns the fields of a map's data, as they are in the registers.
func dataFields(src *nft.Set) []keyField {
	var out []keyField
	for _, f := range src.DataFields {
		k := keyField{Field: f, offset: f.Offset, len: f.Len}
		if f.Type == "ifname" {
			k.Type = "string" // the bytes, not an interface
		}
		k.hostOrder = hostOrderTypes[f.Type] || f.Type == "integer" && src.DataHostOrder
		out = append(out, k)
	}
	return out
}

// dataRange returns where the second values of the data begin; 0: it is no
// range.
func (s *Set) dataRange() int {
	last := s.data[len(s.data)-1]
	n := last.offset + last.len
	if len(s.data) > 1 {
		n = (n + 3) &^ 3
	}
	if n < s.dataLen {
		return n
	}
	return 0
}

// parseData converts data as nft writes it.
func (s *Set) parseData(text string) ([]byte, error) {
	parts := strings.Split(text, concatSeparator)
	if len(parts) != len(s.data) {
		return nil, fmt.Errorf("%d parts", len(parts))
	}
	data := make([]byte, s.dataLen)
	for i, f := range s.data {
		parse := textOf(f).parse
		if end := s.dataRange(); end > 0 {
			from, to, err := s.parseSpan(f, parts[i])
			if err != nil {
				return nil, err
			}
			copy(data[f.offset:], from)
			copy(data[end+f.offset:], to)
			continue
		}
		v, err := parse(s, f, parts[i])
		if err != nil {
			return nil, err
		}
		if len(v) != f.len {
			return nil, errors.New("not of this type")
		}
		copy(data[f.offset:], v)
	}
	return data, nil
}

func (s *Set) wantData() string {
	wants := make([]string, len(s.data))
	for i, f := range s.data {
		wants[i] = textOf(f).want
		if s.dataRange() > 0 {
			wants[i] += ", or a range with a hyphen"
		}
	}
	return strings.Join(wants, concatSeparator)
}

// dataText converts data to text.
func (s *Set) dataText(data []byte) string {
	parts := make([]string, len(s.data))
	for i, f := range s.data {
		print := textOf(f).print
		from := data[f.offset : f.offset+f.len]
		parts[i] = print(s, f, from)
		if end := s.dataRange(); end > 0 {
			if to := data[end+f.offset : end+f.offset+f.len]; !bytes.Equal(from, to) {
				parts[i] += "-" + print(s, f, to)
			}
		}
	}
	return strings.Join(parts, concatSeparator)
}
