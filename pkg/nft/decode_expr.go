// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Attributes that golang.org/x/sys/unix does not name.
const (
	attrBitwiseOp    = 6
	attrBitwiseData  = 7
	attrBitwiseSrc2  = 8
	attrNumgenOffset = 4

	attrFlowTableName = 1

	attrInnerNum     = 1
	attrInnerType    = 2
	attrInnerFlags   = 3
	attrInnerHdrsize = 4
	attrInnerExpr    = 5
)

var decoders = map[string]func([]byte) (Expr, error){
	"meta":      decodeMeta,
	"payload":   decodePayload,
	"exthdr":    decodeExthdr,
	"cmp":       decodeCmp,
	"range":     decodeRange,
	"bitwise":   decodeBitwise,
	"byteorder": decodeByteorder,
	"lookup":    decodeLookup,
	"ct":        decodeCt,
	"counter":   decodeCounter,
	"limit":     decodeLimit,
	"log":       decodeLog,
	"immediate": decodeImmediate,
	"masq":      decodeMasq,
	"nat":       decodeNAT,
	"redir":     decodeRedir,
	"numgen":    decodeNumgen,
	"quota":     decodeQuota,
	"connlimit": decodeConnlimit,
	"objref":    decodeObjref,
	"fib":       decodeFib,
	"rt":        decodeRt,
	"notrack":   decodeNotrack,
	"hash":      decodeHash,
	"reject":    decodeReject,
	"dup":       decodeDup,
	"fwd":       decodeFwd,
	"last":      decodeLast,
}

func init() {
	// Not above: it decodes expressions itself.
	decoders["dynset"] = decodeDynset
	decoders["flow_offload"] = decodeFlowOffload
	decoders["inner"] = decodeInner
}

// decodeExprs decodes a list of expressions.
func decodeExprs(b []byte) ([]Expr, error) {
	var exprs []Expr
	err := scan(b, func(a attr) error {
		e, err := decodeExpr(a.data)
		exprs = append(exprs, e)
		return err
	})
	return exprs, err
}

// decodeExpr decodes an expression. One that is not understood becomes
// [Unknown]; an error means that the message itself is broken.
func decodeExpr(b []byte) (Expr, error) {
	var name string
	var data []byte
	err := scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_EXPR_NAME:
			name = a.str()
		case unix.NFTA_EXPR_DATA:
			data = a.data
		default:
			return errAttr(a)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", name, err)
	}
	if name == "" {
		return nil, errors.New("expression without a name")
	}
	decode, ok := decoders[name]
	if !ok {
		return &Unknown{Name: name}, nil
	}
	e, err := decode(data)
	if err != nil {
		return &Unknown{Name: name, Why: err.Error()}, nil
	}
	return e, nil
}

func decodeMeta(b []byte) (Expr, error) {
	e := new(ExprMeta)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_META_KEY:
			return u32to(&e.Key, a)
		case unix.NFTA_META_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_META_SREG:
			e.Set = true
			return u32to(&e.Reg, a)
		}
		return errAttr(a)
	})
}

func decodePayload(b []byte) (Expr, error) {
	e := new(ExprPayload)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_PAYLOAD_BASE:
			return u32to(&e.Base, a)
		case unix.NFTA_PAYLOAD_OFFSET:
			return u32to(&e.Offset, a)
		case unix.NFTA_PAYLOAD_LEN:
			return u32to(&e.Len, a)
		case unix.NFTA_PAYLOAD_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_PAYLOAD_SREG:
			e.Set = true
			return u32to(&e.Reg, a)
		case unix.NFTA_PAYLOAD_CSUM_TYPE:
			return u32to(&e.CsumType, a)
		case unix.NFTA_PAYLOAD_CSUM_OFFSET:
			return u32to(&e.CsumOffset, a)
		case unix.NFTA_PAYLOAD_CSUM_FLAGS:
			return u32to(&e.CsumFlags, a)
		}
		return errAttr(a)
	})
}

func decodeExthdr(b []byte) (Expr, error) {
	e := &ExprExthdr{Action: ExthdrReset}
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_EXTHDR_TYPE:
			if len(a.data) != 1 {
				return fmt.Errorf("type of %d bytes", len(a.data))
			}
			e.Type = a.data[0]
			return nil
		case unix.NFTA_EXTHDR_OFFSET:
			return u32to(&e.Offset, a)
		case unix.NFTA_EXTHDR_LEN:
			return u32to(&e.Len, a)
		case unix.NFTA_EXTHDR_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			if flags&^unix.NFT_EXTHDR_F_PRESENT != 0 {
				return fmt.Errorf("flags %#x are not known", flags)
			}
			e.Present = flags != 0
			return nil
		case unix.NFTA_EXTHDR_OP:
			return u32to(&e.Op, a)
		case unix.NFTA_EXTHDR_DREG:
			e.Action = ExthdrLoad
			return u32to(&e.Reg, a)
		case unix.NFTA_EXTHDR_SREG:
			e.Action = ExthdrWrite
			return u32to(&e.Reg, a)
		}
		return errAttr(a)
	})
}

// maxInnerHeader is what nft_inner_init() takes, in bytes.
const maxInnerHeader = 64

func decodeInner(b []byte) (Expr, error) {
	e := new(ExprInner)
	var num uint32
	err := scan(b, func(a attr) (err error) {
		switch a.typ {
		case attrInnerNum:
			return u32to(&num, a)
		case attrInnerType:
			return u32to(&e.Type, a)
		case attrInnerFlags:
			return u32to(&e.Flags, a)
		case attrInnerHdrsize:
			return u32to(&e.HeaderSize, a)
		case attrInnerExpr:
			e.Expr, err = decodeExpr(a.data)
			return err
		}
		return errAttr(a)
	})
	switch {
	case err != nil:
		return e, err
	case num != 0:
		return e, fmt.Errorf("a tunnel inside of %d others", num)
	case e.Type > math.MaxUint8:
		return e, fmt.Errorf("a tunnel of type %d, the last one is %d", e.Type, math.MaxUint8)
	case e.Flags&^unix.NFT_INNER_MASK != 0:
		return e, fmt.Errorf("flags %#x are not known", uint32(e.Flags&^unix.NFT_INNER_MASK))
	case e.Flags&InnerHeaderSize != 0 && (e.HeaderSize == 0 || e.HeaderSize > maxInnerHeader):
		return e, fmt.Errorf("a tunnel's header of %d bytes, want 1 to %d", e.HeaderSize, maxInnerHeader)
	}
	return e, e.check()
}

// check tells whether nft_payload_inner_init() and nft_meta_inner_init() know what is loaded.
func (e *ExprInner) check() error {
	switch inside := e.Expr.(type) {
	case *ExprPayload:
		if inside.Set || inside.Base > PayloadTunnel || inside.Base == PayloadInner {
			return fmt.Errorf("payload base %d of a packet inside, written: %v", inside.Base, inside.Set)
		}
	case *ExprMeta:
		if inside.Set || inside.Key != MetaProtocol && inside.Key != MetaL4proto {
			return fmt.Errorf("meta %v of a packet inside, set: %v", inside.Key, inside.Set)
		}
	case nil:
		return errors.New("nothing of a packet inside")
	default:
		return fmt.Errorf("%s of a packet inside", inside.ExprName())
	}
	return nil
}

func decodeCmp(b []byte) (Expr, error) {
	e := new(ExprCmp)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_CMP_SREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_CMP_OP:
			return u32to(&e.Op, a)
		case unix.NFTA_CMP_DATA:
			e.Data, err = decodeValue(a)
			return err
		}
		return errAttr(a)
	})
}

func decodeRange(b []byte) (Expr, error) {
	e := new(ExprRange)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_RANGE_SREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_RANGE_OP:
			return u32to(&e.Op, a)
		case unix.NFTA_RANGE_FROM_DATA:
			e.From, err = decodeValue(a)
			return err
		case unix.NFTA_RANGE_TO_DATA:
			e.To, err = decodeValue(a)
			return err
		}
		return errAttr(a)
	})
}

func decodeBitwise(b []byte) (Expr, error) {
	e := new(ExprBitwise)
	err := scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_BITWISE_SREG:
			return u32to(&e.Src, a)
		case unix.NFTA_BITWISE_DREG:
			return u32to(&e.Dst, a)
		case unix.NFTA_BITWISE_LEN:
			return u32to(&e.Len, a)
		case unix.NFTA_BITWISE_MASK:
			e.Mask, err = decodeValue(a)
			return err
		case unix.NFTA_BITWISE_XOR:
			e.Xor, err = decodeValue(a)
			return err
		case attrBitwiseOp:
			return u32to(&e.Op, a)
		case attrBitwiseData:
			e.Data, err = decodeValue(a)
			return err
		case attrBitwiseSrc2:
			return u32to(&e.Src2, a)
		}
		return errAttr(a)
	})
	if err == nil && (e.Op == BitwiseLshift || e.Op == BitwiseRshift) {
		// The shift is a number in host byte order.
		if len(e.Data) != 4 {
			return e, fmt.Errorf("shift of %d bytes", len(e.Data))
		}
		e.Shift, e.Data = hostEndian.Uint32(e.Data), nil
	}
	return e, err
}

func decodeByteorder(b []byte) (Expr, error) {
	e := new(ExprByteorder)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_BYTEORDER_SREG:
			return u32to(&e.Src, a)
		case unix.NFTA_BYTEORDER_DREG:
			return u32to(&e.Dst, a)
		case unix.NFTA_BYTEORDER_OP:
			return into(&e.ToNetwork, a.u32, func(v uint32) bool { return v == unix.NFT_BYTEORDER_HTON })
		case unix.NFTA_BYTEORDER_LEN:
			return u32to(&e.Len, a)
		case unix.NFTA_BYTEORDER_SIZE:
			return u32to(&e.Size, a)
		}
		return errAttr(a)
	})
}

func decodeLookup(b []byte) (Expr, error) {
	e := new(ExprLookup)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_LOOKUP_SET:
			e.Set = a.str()
		case unix.NFTA_LOOKUP_SET_ID:
		case unix.NFTA_LOOKUP_SREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_LOOKUP_DREG:
			e.Map = true
			return u32to(&e.Dst, a)
		case unix.NFTA_LOOKUP_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			if flags&^unix.NFT_LOOKUP_F_INV != 0 {
				return fmt.Errorf("flags %#x are not known", flags)
			}
			e.Invert = flags != 0
		default:
			return errAttr(a)
		}
		return nil
	})
}

func decodeCt(b []byte) (Expr, error) {
	e := &ExprCt{Direction: -1}
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_CT_KEY:
			return u32to(&e.Key, a)
		case unix.NFTA_CT_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_CT_SREG:
			e.Set = true
			return u32to(&e.Reg, a)
		case unix.NFTA_CT_DIRECTION:
			if len(a.data) != 1 {
				return fmt.Errorf("direction of %d bytes", len(a.data))
			}
			e.Direction = int(a.data[0])
			return nil
		}
		return errAttr(a)
	})
}

func decodeFlowOffload(b []byte) (Expr, error) {
	e := new(ExprFlowOffload)
	return e, scan(b, func(a attr) error {
		if a.typ != attrFlowTableName {
			return errAttr(a)
		}
		e.Table = a.str()
		return nil
	})
}

func decodeLast(b []byte) (Expr, error) {
	// When it was, which is the kernel's own.
	const set, milliseconds, pad = 1, 2, 3
	return new(ExprLast), scan(b, func(a attr) error {
		if a.typ < set || a.typ > pad {
			return errAttr(a)
		}
		return nil
	})
}

func decodeNotrack(b []byte) (Expr, error) {
	return new(ExprNotrack), scan(b, errAttr)
}

func decodeCounter(b []byte) (Expr, error) {
	e := new(ExprCounter)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_COUNTER_BYTES:
			e.Bytes, err = a.u64()
		case unix.NFTA_COUNTER_PACKETS:
			e.Packets, err = a.u64()
		case unix.NFTA_COUNTER_PAD:
		default:
			return errAttr(a)
		}
		return err
	})
}

func decodeLimit(b []byte) (Expr, error) {
	e := new(ExprLimit)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_LIMIT_RATE:
			e.Rate, err = a.u64()
		case unix.NFTA_LIMIT_UNIT:
			e.Unit, err = a.u64()
		case unix.NFTA_LIMIT_BURST:
			e.Burst, err = a.u32()
		case unix.NFTA_LIMIT_TYPE:
			return into(&e.Bytes, a.u32, func(v uint32) bool { return v == unix.NFT_LIMIT_PKT_BYTES })
		case unix.NFTA_LIMIT_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			if flags&^unix.NFT_LIMIT_F_INV != 0 {
				return fmt.Errorf("flags %#x are not known", flags)
			}
			e.Over = flags != 0
		case 6: // NFTA_LIMIT_PAD
		default:
			return errAttr(a)
		}
		return err
	})
}

func decodeLog(b []byte) (Expr, error) {
	e := &ExprLog{Level: 4}
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_LOG_GROUP:
			e.Netlink = true
			e.Group, err = a.u16()
		case unix.NFTA_LOG_PREFIX:
			e.Prefix = a.str()
		case unix.NFTA_LOG_SNAPLEN:
			e.Snaplen, err = a.u32()
		case unix.NFTA_LOG_QTHRESHOLD:
			e.Qthreshold, err = a.u16()
		case unix.NFTA_LOG_LEVEL:
			e.Level, err = a.u32()
		case unix.NFTA_LOG_FLAGS:
			e.Flags, err = a.u32()
		default:
			return errAttr(a)
		}
		return err
	})
}

func decodeImmediate(b []byte) (Expr, error) {
	e := new(ExprImmediate)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_IMMEDIATE_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_IMMEDIATE_DATA:
			e.Data, e.Verdict, err = decodeData(a)
			return err
		}
		return errAttr(a)
	})
}

func decodeNumgen(b []byte) (Expr, error) {
	e := new(ExprNumgen)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_NG_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_NG_MODULUS:
			return u32to(&e.Modulus, a)
		case unix.NFTA_NG_TYPE:
			return into(&e.Random, a.u32, func(v uint32) bool { return v == unix.NFT_NG_RANDOM })
		case attrNumgenOffset:
			return u32to(&e.Offset, a)
		}
		return errAttr(a)
	})
}

// NFTA_HASH_*.
const (
	attrHashSreg = iota + 1
	attrHashDreg
	attrHashLen
	attrHashModulus
	attrHashSeed
	attrHashOffset
	attrHashType
)

func decodeHash(b []byte) (Expr, error) {
	e := new(ExprHash)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case attrHashSreg:
			return u32to(&e.Src, a)
		case attrHashDreg:
			return u32to(&e.Dst, a)
		case attrHashLen:
			return u32to(&e.Len, a)
		case attrHashModulus:
			return u32to(&e.Modulus, a)
		case attrHashSeed:
			return u32to(&e.Seed, a)
		case attrHashOffset:
			return u32to(&e.Offset, a)
		case attrHashType:
			typ, err := a.u32()
			e.Symmetric = typ == 1 // NFT_HASH_SYM
			if err == nil && typ > 1 {
				return fmt.Errorf("type %d is not known", typ)
			}
			return err
		}
		return errAttr(a)
	})
}

func decodeConnlimit(b []byte) (Expr, error) {
	e := new(ExprConnlimit)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case attrConnlimitCount:
			return u32to(&e.Count, a)
		case attrConnlimitFlags:
			flags, err := a.u32()
			if err == nil && flags&^connlimitInvert != 0 {
				return fmt.Errorf("flags %#x are not known", flags)
			}
			e.Over = flags&connlimitInvert != 0
			return err
		}
		return errAttr(a)
	})
}

// NFTA_CONNLIMIT_* and NFT_CONNLIMIT_F_INV.
const (
	attrConnlimitCount = 1
	attrConnlimitFlags = 2
	connlimitInvert    = 1 << 0
)

func decodeQuota(b []byte) (Expr, error) {
	e := new(ExprQuota)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_QUOTA_BYTES:
			e.Bytes, err = a.u64()
		case unix.NFTA_QUOTA_CONSUMED:
			e.Consumed, err = a.u64()
		case unix.NFTA_QUOTA_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			if flags&^(quotaOver|quotaDepleted) != 0 {
				return fmt.Errorf("flags %#x are not known", flags)
			}
			e.Over = flags&quotaOver != 0
		case unix.NFTA_QUOTA_PAD:
		default:
			return errAttr(a)
		}
		return err
	})
}

// NFT_QUOTA_F_*.
const (
	quotaOver     = 1 << 0
	quotaDepleted = 1 << 1
)

func decodeObjref(b []byte) (Expr, error) {
	e := new(ExprObjref)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_OBJREF_IMM_TYPE:
			return u32to(&e.Type, a)
		case unix.NFTA_OBJREF_IMM_NAME:
			e.Name = a.str()
		case unix.NFTA_OBJREF_SET_SREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_OBJREF_SET_NAME:
			e.Set = a.str()
		case unix.NFTA_OBJREF_SET_ID:
		default:
			return errAttr(a)
		}
		return nil
	})
}

// NFTA_DUP_* and NFTA_FWD_*.
const (
	attrDupAddr   = 1
	attrDupDev    = 2
	attrFwdDev    = 1
	attrFwdAddr   = 2
	attrFwdFamily = 3
)

func decodeDup(b []byte) (Expr, error) {
	e := new(ExprDup)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case attrDupAddr:
			return u32to(&e.Addr, a)
		case attrDupDev:
			return u32to(&e.Dev, a)
		}
		return errAttr(a)
	})
}

func decodeFwd(b []byte) (Expr, error) {
	e := new(ExprFwd)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case attrFwdDev:
			return u32to(&e.Dev, a)
		case attrFwdAddr:
			return u32to(&e.Addr, a)
		case attrFwdFamily:
			return into(&e.Family, a.u32, func(v uint32) Family { return Family(v) })
		}
		return errAttr(a)
	})
}

func decodeReject(b []byte) (Expr, error) {
	e := new(ExprReject)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_REJECT_TYPE:
			return u32to(&e.Type, a)
		case unix.NFTA_REJECT_ICMP_CODE:
			if len(a.data) != 1 {
				return fmt.Errorf("code of %d bytes", len(a.data))
			}
			e.Code = a.data[0]
			return nil
		}
		return errAttr(a)
	})
}

const attrDynsetExpressions = 10

func decodeDynset(b []byte) (Expr, error) {
	e := new(ExprDynset)
	return e, scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_DYNSET_SET_NAME:
			e.Set = a.str()
		case unix.NFTA_DYNSET_SET_ID, unix.NFTA_DYNSET_PAD:
		case unix.NFTA_DYNSET_OP:
			return u32to(&e.Op, a)
		case unix.NFTA_DYNSET_SREG_KEY:
			return u32to(&e.Reg, a)
		case unix.NFTA_DYNSET_SREG_DATA:
			e.Data = true
			return u32to(&e.DataReg, a)
		case unix.NFTA_DYNSET_TIMEOUT:
			return into(&e.Timeout, a.u64, milliseconds)
		case unix.NFTA_DYNSET_FLAGS:
			flags, err := a.u32()
			if err != nil {
				return err
			}
			e.Invert = flags&unix.NFT_DYNSET_F_INV != 0
		case unix.NFTA_DYNSET_EXPR:
			x, err := decodeExpr(a.data)
			e.Exprs = append(e.Exprs, x)
			return err
		case attrDynsetExpressions:
			e.Exprs, err = decodeExprs(a.data)
			return err
		default:
			return errAttr(a)
		}
		return nil
	})
}
