// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

var hostEndian = binary.NativeEndian

// decodeData decodes NFTA_DATA_*: a value or a verdict.
func decodeData(a attr) (value []byte, verdict *Verdict, err error) {
	err = scan(a.data, func(a attr) error {
		switch a.typ {
		case unix.NFTA_DATA_VALUE:
			value = a.data
		case unix.NFTA_DATA_VERDICT:
			verdict = new(Verdict)
			return scan(a.data, func(a attr) error {
				switch a.typ {
				case unix.NFTA_VERDICT_CODE:
					return into(&verdict.Code, a.u32, func(v uint32) VerdictCode { return VerdictCode(int32(v)) })
				case unix.NFTA_VERDICT_CHAIN:
					verdict.Chain = a.str()
					return nil
				}
				return errAttr(a)
			})
		default:
			return errAttr(a)
		}
		return nil
	})
	if err == nil && value == nil && verdict == nil {
		err = errors.New("data without a value")
	}
	return value, verdict, err
}

func decodeValue(a attr) ([]byte, error) {
	value, verdict, err := decodeData(a)
	if err == nil && verdict != nil {
		err = errors.New("verdict where a value is expected")
	}
	return value, err
}
