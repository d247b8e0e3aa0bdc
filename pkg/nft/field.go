// SPDX-License-Identifier: GPL-2.0-only

package nft

import "slices"

// Field is a part of a set's key.
type Field struct {
	// Type is the name of the data type, such as "ipv4_addr".
	Type string
	// Offset in the key, in bytes.
	Offset int
	// Len in bytes, without padding.
	Len int
}

type datatype struct {
	name string
	len  int // 0: differs, taken from the key's length
}

// Data types by number: enum datatypes of nft.
var datatypes = map[uint32]datatype{
	2:  {"nf_proto", 1},
	4:  {"integer", 0},
	5:  {"string", 0},
	6:  {"ll_addr", 0},
	7:  {"ipv4_addr", 4},
	8:  {"ipv6_addr", 16},
	9:  {"ether_addr", 6},
	10: {"ether_type", 2},
	11: {"arp_op", 2},
	12: {"inet_proto", 1},
	13: {"inet_service", 2},
	14: {"icmp_type", 1},
	15: {"tcp_flag", 1},
	16: {"dccp_pkttype", 1},
	17: {"mh_type", 1},
	18: {"time", 4},
	19: {"mark", 4},
	20: {"iface_index", 4},
	21: {"iface_type", 2},
	22: {"realm", 4},
	23: {"classid", 4},
	24: {"uid", 4},
	25: {"gid", 4},
	26: {"ct_state", 4},
	27: {"ct_dir", 1},
	28: {"ct_status", 4},
	29: {"icmpv6_type", 1},
	30: {"ct_label", 16},
	31: {"pkt_type", 1},
	32: {"icmp_code", 1},
	33: {"icmpv6_code", 1},
	34: {"icmpx_code", 1},
	35: {"devgroup", 4},
	36: {"dscp", 1},
	37: {"ecn", 1},
	38: {"fib_addrtype", 4},
	39: {"boolean", 1},
	40: {"ct_event", 4},
	41: {"ifname", 16},
	42: {"igmp_type", 1},
	43: {"date", 8},
	44: {"hour", 4},
	45: {"day", 1},
	46: {"cgroupsv2", 8},
}

const (
	datatypeBits = 6
	datatypeMask = 1<<datatypeBits - 1

	typeInteger = 4
)

// padded rounds a field's length up to whole 32-bit registers.
func padded(n int) int { return (n + 3) &^ 3 }

// opaque is the type of a key whose fields nothing tells apart.
const opaque = "opaque"

// keyFields divides a key of keyLen bytes by its type number, which holds six
// bits for each field. lens are the field lengths if the kernel told them. A key
// that cannot be divided is one field.
func keyFields(number uint32, keyLen int, lens []int) (string, []Field) {
	var ids []uint32
	for n := number; n != 0; n >>= datatypeBits {
		ids = append([]uint32{n & datatypeMask}, ids...)
	}
	if len(ids) > 0 && len(lens) > len(ids) {
		// Of a typeof with several fields only the first type is told.
		for len(ids) < len(lens) {
			ids = append(ids, typeInteger)
		}
	}
	name := ""
	var fields []Field
	offset := 0
	for i, id := range ids {
		t, ok := datatypes[id]
		if !ok {
			t.name = "unknown"
		}
		if i > 0 {
			name += " . "
		}
		name += t.name
		n := t.len
		switch {
		case len(lens) == len(ids):
			n = lens[i]
		case len(ids) == 1:
			n = keyLen
		}
		fields = append(fields, Field{Type: t.name, Offset: offset, Len: n})
		offset += padded(n)
	}
	if offset != padded(keyLen) || len(fields) == 0 || slices.ContainsFunc(fields, func(f Field) bool { return f.Len == 0 }) {
		return name, []Field{{Type: opaque, Len: keyLen}}
	}
	return name, fields
}

// dataFields divides the data of a map. The data of ranges are the fields of the
// first value, and then those of the last.
func dataFields(number uint32, dataLen int) (string, []Field) {
	name, fields := keyFields(number, dataLen, nil)
	switch t, ok := datatypes[number]; {
	case len(fields) > 1:
	case ok && t.len != 0 && dataLen == 2*t.len:
		fields[0].Len = t.len
	case !ok && dataLen%2 == 0:
		if _, half := keyFields(number, dataLen/2, nil); len(half) > 1 {
			fields = half
		}
	}
	return name, fields
}
