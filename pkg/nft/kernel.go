// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// readTries is how often a ruleset is read that changes all the time, and
	// readPause what is waited in between, longer each time.
	readTries = 12
	readPause = 5 * time.Millisecond
)

// ErrChanged says that the ruleset changed while it was read, or since.
var ErrChanged = errors.New("the ruleset changed while it was read")

// ReadKernel reads the ruleset in force in the calling process's network
// namespace, as it was at one generation. The texts leave out elements of sets.
// While others change it all the time, the error is [ErrChanged].
func ReadKernel(ctx context.Context) (*Ruleset, error) {
	return readAtOnce(ctx, func(conn *netlink.Conn) (*Ruleset, error) { return readKernel(ctx, conn, readElements, "-t") })
}

// ReadSets is [ReadKernel] for the sets of some tables alone.
func ReadSets(ctx context.Context, of func(*Table) bool) (*Ruleset, error) {
	return readAtOnce(ctx, func(conn *netlink.Conn) (*Ruleset, error) {
		rs := new(Ruleset)
		if err := readTables(conn, rs); err != nil {
			return nil, err
		}
		rs.Tables = slices.DeleteFunc(rs.Tables, func(t *Table) bool { return !of(t) })
		for _, t := range rs.Tables {
			if err := readSets(conn, rs, t, readElements); err != nil {
				return nil, err
			}
		}
		return rs, nil
	})
}

// readAtOnce repeats a reading until nothing changed in between.
func readAtOnce(ctx context.Context, read func(*netlink.Conn) (*Ruleset, error)) (*Ruleset, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for i := range readTries {
		before, err := generation(conn)
		if err != nil {
			return nil, err
		}
		rs, readErr := read(conn)
		after, err := generation(conn)
		if err != nil {
			return nil, err
		}
		if before == after {
			if rs != nil {
				rs.Generation = after
			}
			return rs, readErr
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(i) * readPause):
		}
	}
	return nil, ErrChanged
}

// ListTables is [ReadKernel] for the tables, without what they hold.
func ListTables(ctx context.Context) (*Ruleset, error) {
	return readAtOnce(ctx, func(conn *netlink.Conn) (*Ruleset, error) {
		rs := new(Ruleset)
		return rs, readTables(conn, rs)
	})
}

// ListChains is [ReadKernel] for the tables and their chains, without rules.
func ListChains(ctx context.Context) (*Ruleset, error) {
	return readAtOnce(ctx, func(conn *netlink.Conn) (*Ruleset, error) {
		rs := new(Ruleset)
		if err := readTables(conn, rs); err != nil {
			return nil, err
		}
		return rs, readChains(conn, rs)
	})
}

// readKernel reads the ruleset of conn's network namespace, which is the calling
// thread's. Elements are read by a function; the options are those of nft for its texts.
func readKernel(ctx context.Context, conn *netlink.Conn, elements elementReader, options ...string) (*Ruleset, error) {
	rs := new(Ruleset)
	if err := readTables(conn, rs); err != nil {
		return nil, err
	}
	if err := readChains(conn, rs); err != nil {
		return nil, err
	}
	if err := readRules(conn, rs); err != nil {
		return nil, err
	}
	if err := readObjects(conn, rs); err != nil {
		return nil, err
	}
	if err := readSets(conn, rs, nil, elements); err != nil {
		return nil, err
	}
	if rs.elements() > maxListed {
		options = append(options, "-t")
	}
	out, err := command(ctx, append(options, "-a", "list", "ruleset")...)
	if err != nil {
		return nil, err
	}
	return rs, rs.setListing(string(out))
}

// readTables reads the tables.
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
				flags, err := a.u32()
				t.Dormant = flags&unix.NFT_TABLE_F_DORMANT != 0
				t.Owned = flags&tableOwner != 0
				return err
			case attrTableHandle:
				return into(&t.Handle, a.u64, func(v uint64) uint64 { return v })
			case attrTableUserdata:
				t.Comment = tableComment(a.data)
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

// Of linux/netfilter/nf_tables.h, which golang.org/x/sys/unix does not name.
const (
	tableOwner        = 2 // NFT_TABLE_F_OWNER
	attrTableHandle   = 4 // NFTA_TABLE_HANDLE
	attrTableUserdata = 6 // NFTA_TABLE_USERDATA
)

// tableComment finds the comment in the data that nft keeps with a table: a list
// of type, length and value, each of the first two a byte, with the comment as
// type 0.
func tableComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if value := b[2 : 2+int(b[1])]; b[0] == 0 {
			return strings.TrimRight(string(value), "\x00")
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

// generation asks for the number of the last transaction.
func generation(conn *netlink.Conn) (uint32, error) {
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: messageType(unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{0, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("generation of the ruleset: %w", err)
	}
	for _, r := range replies {
		if len(r.Data) >= nfgenmsgLen {
			return decodeGeneration(r.Data[nfgenmsgLen:])
		}
	}
	return 0, errors.New("generation of the ruleset: no reply")
}

func decodeGeneration(b []byte) (gen uint32, err error) {
	err = scan(b, func(a attr) error {
		if a.typ == unix.NFTA_GEN_ID {
			return u32to(&gen, a)
		}
		return nil
	})
	return gen, err
}

func messageType(msg int) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | msg)
}

func readChains(conn *netlink.Conn, rs *Ruleset) error {
	msgs, err := dump(conn, unix.NFT_MSG_GETCHAIN, 0, nil)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	for _, m := range msgs {
		c, table, err := decodeChain(m.family, m.attrs)
		if err != nil {
			return fmt.Errorf("table %v %s chain %s: %w", m.family, table, c.Name, err)
		}
		if c.Table = rs.Table(m.family, table); c.Table == nil {
			return ErrChanged
		}
		c.Table.Chains = append(c.Table.Chains, c)
	}
	return nil
}

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
			return ErrChanged
		}
		if r.Chain = t.Chain(chain); r.Chain == nil {
			return ErrChanged
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
			return ErrChanged
		}
		t.Objects = append(t.Objects, o)
	}
	return nil
}

// readSets reads the sets of a table, or of all.
func readSets(conn *netlink.Conn, rs *Ruleset, of *Table, elements elementReader) error {
	var family Family
	var attrs []netlink.Attribute
	if of != nil {
		family = of.Family
		attrs = []netlink.Attribute{{Type: unix.NFTA_SET_TABLE, Data: cstring(of.Name)}}
	}
	msgs, err := dump(conn, unix.NFT_MSG_GETSET, family, attrs)
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, m := range msgs {
		s, table, err := decodeSet(m.attrs)
		if err != nil {
			return fmt.Errorf("table %v %s: %w", m.family, table, err)
		}
		if s.Table = rs.Table(m.family, table); s.Table == nil {
			return ErrChanged
		}
		s.Table.Sets = append(s.Table.Sets, s)
		if err := elements(conn, s); err != nil {
			return fmt.Errorf("table %v set %s: %w", s.Table, s.Name, err)
		}
	}
	return nil
}

// maxListed is up to how many elements the listing has those of named sets.
const maxListed = 50000

func (r *Ruleset) elements() int {
	n := 0
	for _, t := range r.Tables {
		for _, s := range t.Sets {
			n += len(s.Elements)
		}
	}
	return n
}

func cstring(s string) []byte { return append([]byte(s), 0) }
