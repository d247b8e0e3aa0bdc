// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// splitVerdict takes the verdict off an element of a verdict map.
func (s *Set) splitVerdict(element string) (key string, verdict int, err error) {
	if !s.isMap {
		return element, 0, nil
	}
	at := strings.LastIndex(element, " : ")
	if at < 0 {
		return "", 0, fmt.Errorf("set %v: element %q: want \"key : verdict\"", s, element)
	}
	text := strings.Join(strings.Fields(element[at+len(" : "):]), " ")
	var known []string
	for i, v := range s.verdicts {
		if v.String() == text {
			return element[:at], i, nil
		}
		known = append(known, v.String())
	}
	return "", 0, fmt.Errorf("set %v: element %q: verdict %q is none of those of the ruleset: %s", s, element, text, strings.Join(known, ", "))
}

// verdictText is what stands behind the key of an element with this value.
func (s *Set) verdictText(value []byte) string {
	if !s.isMap {
		return ""
	}
	i := binary.NativeEndian.Uint32(value[verdictOffset:])
	if int(i) >= len(s.verdicts) {
		return ""
	}
	return " : " + s.verdicts[i].String()
}
