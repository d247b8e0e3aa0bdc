// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Attributes that golang.org/x/sys/unix does not name.
const (
	attrSetExpr         = 17
	attrSetExpressions  = 18
	attrSetDescConcat   = 2
	attrElemKeyEnd      = 10
	attrElemExpressions = 11
	elemCatchAll        = 2

	dataVerdict = 0xffffff00 // NFT_DATA_VERDICT
)

// decodeSet decodes a set without its elements and returns its table's name.
func decodeSet(b []byte) (s *Set, table string, err error) {
	s = new(Set)
	var keyType, keyLen, dataType, dataLen uint32
	var lens []int
	err = scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_SET_TABLE:
			table = a.str()
		case unix.NFTA_SET_NAME:
			s.Name = a.str()
		case unix.NFTA_SET_FLAGS:
			return u32to(&s.Flags, a)
		case unix.NFTA_SET_KEY_TYPE:
			keyType, err = a.u32()
		case unix.NFTA_SET_KEY_LEN:
			keyLen, err = a.u32()
		case unix.NFTA_SET_DATA_TYPE:
			dataType, err = a.u32()
		case unix.NFTA_SET_DATA_LEN:
			dataLen, err = a.u32()
		case unix.NFTA_SET_TIMEOUT:
			return into(&s.Timeout, a.u64, milliseconds)
		case unix.NFTA_SET_DESC:
			lens, err = decodeSetDesc(s, a)
		case unix.NFTA_SET_OBJ_TYPE:
			return u32to(&s.ObjectType, a)
		case unix.NFTA_SET_USERDATA:
			s.KeyHostOrder = userdata(a.data, udataKeyByteorder) == hostByteorder
			s.DataHostOrder = userdata(a.data, udataDataByteorder) == hostByteorder
		case attrSetExpr:
			e, err := decodeExpr(a.data)
			s.Exprs = append(s.Exprs, e)
			return err
		case attrSetExpressions:
			s.Exprs, err = decodeExprs(a.data)
		}
		return err
	})
	if err != nil {
		return nil, table, fmt.Errorf("set %q: %w", s.Name, err)
	}
	s.KeyLen = int(keyLen)
	s.KeyType, s.Fields = keyFields(keyType, s.KeyLen, lens)
	if s.Has(SetMap) && dataType != dataVerdict {
		s.DataLen = int(dataLen)
		s.DataType, s.DataFields = dataFields(dataType, s.DataLen)
	}
	return s, table, nil
}

// What nft notes about a set for itself: NFTNL_UDATA_SET_* of libnftnl, and the
// byte order of its own enum.
const (
	udataKeyByteorder  = 0
	udataDataByteorder = 1
	hostByteorder      = 1
)

// userdata returns a number that nft has noted, or 0.
func userdata(b []byte, typ byte) uint32 {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		value := b[2 : 2+int(b[1])]
		if b[0] == typ && len(value) == 4 {
			return hostEndian.Uint32(value)
		}
		b = b[2+len(value):]
	}
	return 0
}

func milliseconds(ms uint64) time.Duration { return time.Duration(ms) * time.Millisecond }

// decodeSetDesc returns the lengths of a concatenation's fields.
func decodeSetDesc(s *Set, a attr) (lens []int, err error) {
	err = scan(a.data, func(a attr) error {
		switch a.typ {
		case unix.NFTA_SET_DESC_SIZE:
			return u32to(&s.Size, a)
		case attrSetDescConcat:
			return scan(a.data, func(a attr) error {
				return scan(a.data, func(a attr) error {
					n, err := a.u32()
					lens = append(lens, int(n))
					return err
				})
			})
		}
		return nil
	})
	return lens, err
}

// decodeElements decodes a message of elements.
func decodeElements(b []byte) ([]Element, error) {
	var elems []Element
	err := scan(b, func(a attr) error {
		if a.typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return nil
		}
		return scan(a.data, func(a attr) error {
			e, err := decodeElement(a.data)
			elems = append(elems, e)
			return err
		})
	})
	return elems, err
}

func decodeElement(b []byte) (Element, error) {
	var e Element
	err := scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_SET_ELEM_KEY:
			e.Key, err = decodeValue(a)
		case attrElemKeyEnd:
			e.KeyEnd, err = decodeValue(a)
		case unix.NFTA_SET_ELEM_DATA:
			e.Data, e.Verdict, err = decodeData(a)
		case unix.NFTA_SET_ELEM_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			if flags&^(unix.NFT_SET_ELEM_INTERVAL_END|elemCatchAll) != 0 {
				return fmt.Errorf("element flags %#x are not known", flags)
			}
			e.IntervalEnd = flags&unix.NFT_SET_ELEM_INTERVAL_END != 0
			e.CatchAll = flags&elemCatchAll != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			return into(&e.Timeout, a.u64, milliseconds)
		case unix.NFTA_SET_ELEM_EXPIRATION:
			return into(&e.Expires, a.u64, milliseconds)
		case unix.NFTA_SET_ELEM_EXPR:
			x, err := decodeExpr(a.data)
			e.Exprs = append(e.Exprs, x)
			return err
		case attrElemExpressions:
			e.Exprs, err = decodeExprs(a.data)
		case unix.NFTA_SET_ELEM_USERDATA, 8: // NFTA_SET_ELEM_PAD
		case 9: // NFTA_SET_ELEM_OBJREF
			e.Object = a.str()
		default:
			return errAttr(a)
		}
		return err
	})
	return e, err
}
