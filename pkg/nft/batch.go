// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// attrBatchGenid is NFNL_BATCH_GENID.
const attrBatchGenid = 1

// smallBatch is what every socket can send at once: a part of the default of
// net.core.wmem_default.
const smallBatch = 64 << 10

// SetDormant puts tables to sleep or wakes them, all in one transaction, if the
// ruleset is still the one of a generation, which must have the tables: the
// kernel would make others. Else nothing changes and the error is [ErrChanged].
func SetDormant(tables []*Table, dormant bool, generation uint32) error {
	if len(tables) == 0 {
		return nil
	}
	flags := uint32(0)
	if dormant {
		flags = unix.NFT_TABLE_F_DORMANT
	}
	msgs := make([]netlink.Message, len(tables))
	for i, t := range tables {
		data, err := netlink.MarshalAttributes([]netlink.Attribute{
			{Type: unix.NFTA_TABLE_NAME, Data: cstring(t.Name)},
			{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, flags)},
		})
		if err != nil {
			return err
		}
		msgs[i] = netlink.Message{
			Header: netlink.Header{Type: messageType(unix.NFT_MSG_NEWTABLE), Flags: netlink.Request | netlink.Acknowledge},
			Data:   append([]byte{byte(t.Family), unix.NFNETLINK_V0, 0, 0}, data...),
		}
	}
	return batch(msgs, generation)
}

// batch sends messages as one transaction on a generation, and waits for what
// became of it: each message must ask for an acknowledgement.
func batch(msgs []netlink.Message, generation uint32) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()
	// nfgenmsg of a batch: the subsystem, in network byte order.
	head := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	gen, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: attrBatchGenid, Data: binary.BigEndian.AppendUint32(nil, generation)}})
	if err != nil {
		return err
	}
	begin := append(bytes.Clone(head), gen...)
	all := append([]netlink.Message{{
		Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: begin,
	}}, msgs...)
	all = append(all, netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: head})
	size := 0
	for _, m := range all {
		size += unix.NLMSG_HDRLEN + len(m.Data)
	}
	if size > smallBatch {
		// The kernel counts its own structures, too.
		if err := conn.SetWriteBuffer(2 * size); err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
	}
	if _, err := conn.SendMessages(all); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	// One acknowledgement each; an error of the whole comes first.
	for range msgs {
		if _, err := conn.Receive(); err != nil {
			if errors.Is(err, unix.ERESTART) {
				return ErrChanged
			}
			return fmt.Errorf("nftables: %w", err)
		}
	}
	return nil
}
