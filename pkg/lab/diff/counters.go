// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// nfgenmsgLen is the size of struct nfgenmsg before the attributes.
const nfgenmsgLen = 4

// kernelCounts reads the counters of nftables: the first of each rule that has
// one.
func (r *router) kernelCounts() (map[ruleKey]count, error) {
	counts := map[ruleKey]count{}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(r.self.file.Fd())})
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()
	rules, err := conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return nil, fmt.Errorf("read the rules of nftables: %w", err)
	}
	for _, m := range rules {
		if err := readCounter(m.Data, counts); err != nil {
			return nil, fmt.Errorf("a rule of nftables: %w", err)
		}
	}
	return counts, nil
}

// readCounter reads the counter of a rule's message.
func readCounter(data []byte, counts map[ruleKey]count) error {
	if len(data) < nfgenmsgLen {
		return fmt.Errorf("%d bytes", len(data))
	}
	ad, err := netlink.NewAttributeDecoder(data[nfgenmsgLen:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	var key ruleKey
	var n *count
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_TABLE:
			key.table = fmt.Sprintf("%v %s", nft.Family(data[0]), ad.String())
		case unix.NFTA_RULE_CHAIN:
			key.chain = ad.String()
		case unix.NFTA_RULE_HANDLE:
			key.handle = ad.Uint64()
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(expr *netlink.AttributeDecoder) error {
						if c := counterOf(expr); n == nil {
							n = c
						}
						return expr.Err()
					})
				}
				return list.Err()
			})
		}
	}
	if n != nil {
		counts[key] = *n
	}
	return ad.Err()
}

// counterOf returns the count of an expression that is a counter, or nil.
func counterOf(expr *netlink.AttributeDecoder) *count {
	name, n := "", count{}
	for expr.Next() {
		switch expr.Type() {
		case unix.NFTA_EXPR_NAME:
			name = expr.String()
		case unix.NFTA_EXPR_DATA:
			if name != "counter" {
				continue
			}
			expr.Nested(func(data *netlink.AttributeDecoder) error {
				for data.Next() {
					switch data.Type() {
					case unix.NFTA_COUNTER_BYTES:
						n.Bytes = data.Uint64()
					case unix.NFTA_COUNTER_PACKETS:
						n.Packets = data.Uint64()
					}
				}
				return data.Err()
			})
		}
	}
	if name != "counter" {
		return nil
	}
	return &n
}
