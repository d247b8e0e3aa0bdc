// SPDX-License-Identifier: GPL-2.0-only

package nft

import "golang.org/x/sys/unix"

// Attributes and values that golang.org/x/sys/unix does not name.
const (
	attrHookDevs     = 4
	attrDeviceName   = 1
	attrDevicePrefix = 2
	policyDrop       = 0 // NF_DROP
	policyAccept     = 1 // NF_ACCEPT
)

// decodeChain decodes a chain and the name of its table.
func decodeChain(family Family, b []byte) (c *Chain, table string, err error) {
	c = new(Chain)
	var base Base
	policy := uint32(policyAccept)
	err = scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_CHAIN_TABLE:
			table = a.str()
		case unix.NFTA_CHAIN_NAME:
			c.Name = a.str()
		case unix.NFTA_CHAIN_TYPE:
			base.Type = a.str()
		case unix.NFTA_CHAIN_POLICY:
			policy, err = a.u32()
		case unix.NFTA_CHAIN_HOOK:
			c.Base = &base
			return base.decodeHook(family, a.data)
		}
		return err
	})
	base.Policy = VerdictAccept
	if policy == policyDrop {
		base.Policy = VerdictDrop
	}
	return c, table, err
}

func (b *Base) decodeHook(family Family, data []byte) error {
	var device string
	err := scan(data, func(a attr) error {
		switch a.typ {
		case unix.NFTA_HOOK_HOOKNUM:
			return u32to(&b.Hook, a)
		case unix.NFTA_HOOK_PRIORITY:
			return into(&b.Priority, a.u32, func(v uint32) int32 { return int32(v) })
		case unix.NFTA_HOOK_DEV:
			device = a.str()
		case attrHookDevs:
			return scan(a.data, func(a attr) error {
				switch a.typ {
				case attrDeviceName:
					b.Devices = append(b.Devices, a.str())
				case attrDevicePrefix:
					b.Devices = append(b.Devices, a.str()+"*")
				default:
					return errAttr(a)
				}
				return nil
			})
		}
		return nil
	})
	// The kernel tells of a single one in both ways.
	if len(b.Devices) == 0 && device != "" {
		b.Devices = []string{device}
	}
	if family == FamilyNetdev {
		// NF_NETDEV_INGRESS and NF_NETDEV_EGRESS.
		b.Hook += HookIngress
	}
	return err
}
