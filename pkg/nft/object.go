// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ObjectType is NFT_OBJECT_*.
type ObjectType uint32

// The types of objects that are understood.
const (
	ObjectCounter ObjectType = unix.NFT_OBJECT_COUNTER
	ObjectQuota   ObjectType = unix.NFT_OBJECT_QUOTA
	ObjectLimit   ObjectType = unix.NFT_OBJECT_LIMIT
)

// objectNames are nft's names of the other types.
var objectNames = map[ObjectType]string{
	unix.NFT_OBJECT_CT_HELPER: "ct helper", unix.NFT_OBJECT_TUNNEL: "tunnel", unix.NFT_OBJECT_CT_TIMEOUT: "ct timeout",
	unix.NFT_OBJECT_SECMARK: "secmark", unix.NFT_OBJECT_CT_EXPECT: "ct expectation", unix.NFT_OBJECT_SYNPROXY: "synproxy",
}

// String returns the type as nft writes it.
func (t ObjectType) String() string {
	if name := objectDecoders[t]; name != "" {
		return name
	}
	if name := objectNames[t]; name != "" {
		return name
	}
	return fmt.Sprintf("object of type %d", uint32(t))
}

// Object is a stateful expression with a name, which rules share.
type Object struct {
	Name string
	Type ObjectType
	// Expr is an [ExprCounter], an [ExprQuota], an [ExprLimit] or [Unknown].
	Expr Expr
}

var objectDecoders = map[ObjectType]string{ObjectCounter: "counter", ObjectQuota: "quota", ObjectLimit: "limit"}

// decodeObject decodes an object and returns its table's name.
func decodeObject(b []byte) (o *Object, table string, err error) {
	o = new(Object)
	var data []byte
	err = scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_OBJ_TABLE:
			table = a.str()
		case unix.NFTA_OBJ_NAME:
			o.Name = a.str()
		case unix.NFTA_OBJ_TYPE:
			return u32to(&o.Type, a)
		case unix.NFTA_OBJ_DATA:
			data = a.data
		}
		return nil
	})
	if err != nil {
		return nil, table, fmt.Errorf("object %q: %w", o.Name, err)
	}
	name, ok := objectDecoders[o.Type]
	if !ok {
		o.Expr = &Unknown{Name: o.Type.String()}
		return o, table, nil
	}
	if o.Expr, err = decoders[name](data); err != nil {
		o.Expr = &Unknown{Name: name, Why: err.Error()}
	}
	return o, table, nil
}
