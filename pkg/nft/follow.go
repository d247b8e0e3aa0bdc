// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// followBuffer is the size of the socket's buffer in bytes: a transaction of
// some 50,000 elements fits. One that does not is an overrun, and the ruleset
// has to be read again.
const followBuffer = 32 << 20

// Transaction is a change of the ruleset as the kernel reported it.
type Transaction struct {
	// Generation is the number of the ruleset after it.
	Generation uint32
	// Elements of sets that were added and deleted, in that order. They are
	// complete if no table is among Tables.
	Elements []ElementChange
	// Tables with any other change, of chains, rules, sets, or themselves.
	Tables map[TableName]bool
}

// TableName names a table.
type TableName struct {
	Family Family
	Name   string
}

// ElementChange is an element that a set got or lost.
type ElementChange struct {
	Table   TableName
	Set     string
	Element Element
	Deleted bool
}

// Follower hears of the changes of the ruleset of a network namespace.
type Follower struct {
	conn *netlink.Conn
	// queue holds the messages that were received and not looked at yet.
	queue []netlink.Message
	begun *Transaction // nil between transactions
}

// Follow subscribes to the changes of the ruleset of the calling process's
// network namespace.
func Follow() (*Follower, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	err = errors.Join(conn.SetReadBuffer(followBuffer), conn.JoinGroup(unix.NFNLGRP_NFTABLES))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("subscribe to changes of nftables: %w", err)
	}
	return &Follower{conn: conn}, nil
}

// Close ends the subscription.
func (f *Follower) Close() error { return f.conn.Close() }

// Generation returns the number of the last transaction.
func (f *Follower) Generation() (uint32, error) {
	// Not on the subscribed socket, where the answer would be among the news.
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return generation(conn)
}

// Next waits for a transaction to be complete. When ctx ends the error is its
// own, and Next can be called again. Any other error means that changes may have
// been missed: follow anew, then read the ruleset.
func (f *Follower) Next(ctx context.Context) (*Transaction, error) {
	if err := f.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = f.conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()
	for {
		t, err := f.take()
		if t != nil || err != nil {
			return t, err
		}
		if f.queue, err = f.conn.Receive(); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("changes of nftables: %w", err)
		}
	}
}

// take looks at the messages in the queue. It returns a transaction when it is
// complete.
func (f *Follower) take() (*Transaction, error) {
	for len(f.queue) > 0 {
		m := f.queue[0]
		f.queue = f.queue[1:]
		if f.begun == nil {
			f.begun = &Transaction{Tables: map[TableName]bool{}}
		}
		done, err := f.begun.add(m)
		if err != nil {
			return nil, fmt.Errorf("changes of nftables: %w", err)
		}
		if done {
			t := f.begun
			f.begun = nil
			return t, nil
		}
	}
	return nil, nil
}

// add takes a message in. It returns true for the one that ends a transaction.
func (t *Transaction) add(m netlink.Message) (done bool, err error) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false, nil
	}
	if len(m.Data) < nfgenmsgLen {
		return false, fmt.Errorf("message of %d bytes", len(m.Data))
	}
	family, attrs := Family(m.Data[0]), m.Data[nfgenmsgLen:]
	switch typ := int(m.Header.Type & 0xff); typ {
	case unix.NFT_MSG_NEWGEN:
		t.Generation, err = decodeGeneration(attrs)
		return true, err
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		return false, t.addElements(family, attrs, typ == unix.NFT_MSG_DELSETELEM)
	default:
		// The name of the table is the first attribute of all of them.
		name := ""
		err := scan(attrs, func(a attr) error {
			if a.typ == unix.NFTA_TABLE_NAME {
				name = a.str()
			}
			return nil
		})
		t.Tables[TableName{family, name}] = true
		return false, err
	}
}

func (t *Transaction) addElements(family Family, attrs []byte, deleted bool) error {
	c := ElementChange{Table: TableName{Family: family}, Deleted: deleted}
	err := scan(attrs, func(a attr) error {
		switch a.typ {
		case unix.NFTA_SET_ELEM_LIST_TABLE:
			c.Table.Name = a.str()
		case unix.NFTA_SET_ELEM_LIST_SET:
			c.Set = a.str()
		}
		return nil
	})
	if err != nil {
		return err
	}
	elements, err := decodeElements(attrs)
	if err != nil {
		return fmt.Errorf("table %v %s set %s: %w", family, c.Table.Name, c.Set, err)
	}
	for _, c.Element = range elements {
		t.Elements = append(t.Elements, c)
	}
	return nil
}
