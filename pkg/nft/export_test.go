// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kinds of messages in the input of [Assemble].
const (
	KindBaseRule = iota // a rule of the base chain
	KindRule            // a rule of the regular chain
	KindSet
	KindElements // of the last set
	KindObject
	kinds
)

// Message is an answer of nf_tables, from its attributes on.
type Message struct {
	Kind  byte
	Attrs []byte
}

// Pack writes messages one behind the other.
func Pack(msgs []Message) []byte {
	var out []byte
	for _, m := range msgs {
		out = append(out, m.Kind, byte(len(m.Attrs)>>8), byte(len(m.Attrs)))
		out = append(out, m.Attrs...)
	}
	return out
}

// Assemble decodes packed messages, whatever they are, into one table with a base
// chain "forward" and a regular chain "c". What cannot be decoded is left out.
func Assemble(family Family, data []byte) *Ruleset {
	t := &Table{Family: family, Name: "t"}
	base := &Chain{Table: t, Name: "forward", Base: &Base{Type: "filter", Hook: HookForward, Policy: VerdictDrop}}
	regular := &Chain{Table: t, Name: "c"}
	t.Chains = []*Chain{base, regular}
	for len(data) >= 3 {
		kind, n := data[0]%kinds, int(data[1])<<8|int(data[2])
		data = data[3:]
		attrs := data[:min(n, len(data))]
		data = data[len(attrs):]
		switch kind {
		case KindBaseRule, KindRule:
			r, _, _, err := decodeRule(attrs)
			if err != nil {
				continue
			}
			r.Chain = []*Chain{base, regular}[kind]
			r.Chain.Rules = append(r.Chain.Rules, r)
		case KindSet:
			if s, _, err := decodeSet(attrs); err == nil {
				s.Table = t
				t.Sets = append(t.Sets, s)
			}
		case KindElements:
			if elems, err := decodeElements(attrs); err == nil && len(t.Sets) > 0 {
				s := t.Sets[len(t.Sets)-1]
				s.Elements = append(s.Elements, elems...)
			}
		case KindObject:
			if o, _, err := decodeObject(attrs); err == nil {
				t.Objects = append(t.Objects, o)
			}
		}
	}
	return &Ruleset{Tables: []*Table{t}}
}

// Messages loads a ruleset file and returns what nf_tables answers about the
// objects, sets and rules of its tables. Rules of all base chains are said to
// be of one, those of other chains of the other.
func Messages(ctx context.Context, path string, links []Link) (msgs []Message, err error) {
	_, err = inNamespace(func() (*Ruleset, error) {
		if err := createLinks(links); err != nil {
			return nil, err
		}
		if err := loadFile(ctx, path); err != nil {
			return nil, err
		}
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		rs, err := readKernel(ctx, conn, readElements)
		if err != nil {
			return nil, err
		}
		msgs, err = messages(conn, rs)
		return nil, err
	})
	return msgs, err
}

func messages(conn *netlink.Conn, rs *Ruleset) ([]Message, error) {
	var out []Message
	for _, q := range []struct {
		kind byte
		typ  int
	}{{KindObject, unix.NFT_MSG_GETOBJ}, {KindSet, unix.NFT_MSG_GETSET}, {KindRule, unix.NFT_MSG_GETRULE}} {
		replies, err := dump(conn, q.typ, 0, nil)
		if err != nil {
			return nil, err
		}
		for _, m := range replies {
			kind := q.kind
			switch q.kind {
			case KindSet:
				out = append(out, Message{kind, slices.Clone(m.attrs)})
				s, table, err := decodeSet(m.attrs)
				if err != nil {
					return nil, err
				}
				elements, err := dump(conn, unix.NFT_MSG_GETSETELEM, m.family, []netlink.Attribute{
					{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: cstring(table)},
					{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: cstring(s.Name)},
				})
				if err != nil {
					return nil, err
				}
				for _, e := range elements {
					out = append(out, Message{KindElements, slices.Clone(e.attrs)})
				}
				continue
			case KindRule:
				_, table, chain, err := decodeRule(m.attrs)
				if err != nil {
					return nil, err
				}
				t := rs.Table(m.family, table)
				if t == nil || t.Chain(chain) == nil {
					return nil, fmt.Errorf("no chain %s %s", table, chain)
				}
				if t.Chain(chain).Base != nil {
					kind = KindBaseRule
				}
			}
			out = append(out, Message{kind, slices.Clone(m.attrs)})
		}
	}
	return out, nil
}

// RuleLines returns the lines at which rules of a ruleset file begin.
func RuleLines(text string) []int {
	var lines []int
	for _, statements := range parseSource(text) {
		for _, s := range statements {
			lines = append(lines, s.line)
		}
	}
	return lines
}
