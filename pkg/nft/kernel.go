// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readKernel reads the ruleset of the calling thread's network namespace.
func readKernel(ctx context.Context) (*Ruleset, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()

	rs := new(Ruleset)
	if err := readTables(conn, rs); err != nil {
		return nil, err
	}
	if err := readChains(rs); err != nil {
		return nil, err
	}
	if err := readRules(conn, rs); err != nil {
		return nil, err
	}
	if err := readObjects(conn, rs); err != nil {
		return nil, err
	}
	if err := readSets(conn, rs); err != nil {
		return nil, err
	}
	out, err := command(ctx, "-a", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	return rs, rs.setListing(string(out))
}

// readTables reads the tables. google/nftables takes their flags for numbers in
// host byte order, so that a dormant table would not be seen as one.
func readTables(conn *netlink.Conn, rs *Ruleset) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETTABLE, 0, nil)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, m := range msgs {
		t := &Table{Family: m.family}
		err := scan(m.attrs, func(a attr) error {
			switch a.typ {
			case unix.NFTA_TABLE_NAME:
				t.Name = a.str()
			case unix.NFTA_TABLE_FLAGS:
				return into(&t.Dormant, a.u32, func(v uint32) bool { return v&unix.NFT_TABLE_F_DORMANT != 0 })
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("table %v %s: %w", m.family, t.Name, err)
		}
		rs.Tables = append(rs.Tables, t)
	}
	return nil
}

func readChains(rs *Ruleset) error {
	nl, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	chains, err := nl.ListChains()
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	for _, c := range chains {
		t := rs.Table(Family(c.Table.Family), c.Table.Name)
		if t == nil {
			return errChanged
		}
		t.Chains = append(t.Chains, newChain(t, c))
	}
	return nil
}

func newChain(t *Table, c *nftables.Chain) *Chain {
	chain := &Chain{Table: t, Name: c.Name}
	if c.Hooknum == nil || c.Priority == nil {
		return chain
	}
	chain.Base = &Base{
		Type:     string(c.Type),
		Hook:     Hook(*c.Hooknum),
		Priority: int32(*c.Priority),
		Policy:   VerdictAccept,
		Device:   c.Device,
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		chain.Base.Policy = VerdictDrop
	}
	return chain
}

var errChanged = errors.New("the ruleset changed while it was read")

func readRules(conn *netlink.Conn, rs *Ruleset) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETRULE, 0, nil)
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	for _, m := range msgs {
		r, table, chain, err := decodeRule(m.attrs)
		if err != nil {
			return fmt.Errorf("table %v %s chain %s rule handle %d: %w", m.family, table, chain, r.Handle, err)
		}
		t := rs.Table(m.family, table)
		if t == nil {
			return errChanged
		}
		if r.Chain = t.Chain(chain); r.Chain == nil {
			return errChanged
		}
		r.Chain.Rules = append(r.Chain.Rules, r)
	}
	return nil
}

func readObjects(conn *netlink.Conn, rs *Ruleset) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETOBJ, 0, nil)
	if err != nil {
		return fmt.Errorf("list objects: %w", err)
	}
	for _, m := range msgs {
		o, table, err := decodeObject(m.attrs)
		if err != nil {
			return fmt.Errorf("table %v %s: %w", m.family, table, err)
		}
		t := rs.Table(m.family, table)
		if t == nil {
			return errChanged
		}
		t.Objects = append(t.Objects, o)
	}
	return nil
}

func readSets(conn *netlink.Conn, rs *Ruleset) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETSET, 0, nil)
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, m := range msgs {
		s, table, err := decodeSet(m.attrs)
		if err != nil {
			return fmt.Errorf("table %v %s: %w", m.family, table, err)
		}
		if s.Table = rs.Table(m.family, table); s.Table == nil {
			return errChanged
		}
		s.Table.Sets = append(s.Table.Sets, s)
	}
	for _, t := range rs.Tables {
		for _, s := range t.Sets {
			if err := readElements(conn, s); err != nil {
				return fmt.Errorf("table %v set %s: %w", t, s.Name, err)
			}
		}
	}
	return nil
}

func readElements(conn *netlink.Conn, s *Set) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETSETELEM, s.Table.Family, []netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: cstring(s.Table.Name)},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: cstring(s.Name)},
	})
	if err != nil {
		return fmt.Errorf("list elements: %w", err)
	}
	for _, m := range msgs {
		elems, err := decodeElements(m.attrs)
		if err != nil {
			return err
		}
		s.Elements = append(s.Elements, elems...)
	}
	return nil
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// message is a reply of nf_tables.
type message struct {
	family Family
	attrs  []byte
}

const nfgenmsgLen = 4

// dump asks for every object of a kind; family 0 is all of them.
func dump(conn *netlink.Conn, msg int, family Family, attrs []netlink.Attribute) ([]message, error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | msg),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if err != nil {
		return nil, err
	}
	msgs := make([]message, 0, len(replies))
	for _, r := range replies {
		if len(r.Data) < nfgenmsgLen {
			return nil, fmt.Errorf("reply of %d bytes", len(r.Data))
		}
		msgs = append(msgs, message{Family(r.Data[0]), r.Data[nfgenmsgLen:]})
	}
	return msgs, nil
}
