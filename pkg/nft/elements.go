// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// takenAtOnce is with how many elements a set is large: those of a larger one are no
// part of the listing. Less in tests.
var takenAtOnce = maxListed

// elementReader reads the elements of a set.
type elementReader func(*netlink.Conn, *Set) error

// readElements reads the elements of a set and leaves it as it is.
func readElements(conn *netlink.Conn, s *Set) error {
	_, _, err := readSome(conn, s, math.MaxInt)
	return err
}

// takeElements reads the elements of a set that nobody needs afterwards. For each part
// of a dump, of some 1,000 elements, the kernel walks through the set from its beginning:
// that of a million takes half a minute. So what has been read of a large set is taken
// out of it, and the walks stay short. A set that does not let go of its elements, as a
// constant one, is read as it is; so is one of ranges, whose ends are elements that the
// kernel does not always find.
func takeElements(conn *netlink.Conn, s *Set) error {
	if s.Has(SetInterval) {
		return readElements(conn, s)
	}
	for {
		begun := len(s.Elements)
		said, complete, err := readOnce(s)
		if err != nil || complete && begun == 0 || len(s.Elements) == begun {
			return err
		}
		err = destroyElements(conn, s, said)
		switch {
		case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP):
			s.Elements = s.Elements[:begun]
			return readElements(conn, s)
		case err != nil:
			return err
		}
		s.Elements = append(s.Elements[:begun], distinct(s.Elements[begun:])...)
	}
}

// distinct leaves out elements that are there already. A hash table that becomes smaller
// while it is read, as it does when elements are taken, shows some twice, and others not:
// these are still there the next time.
func distinct(elements []Element) []Element {
	type identity struct {
		key, keyEnd           string
		intervalEnd, catchAll bool
	}
	seen := make(map[identity]bool, len(elements))
	return slices.DeleteFunc(elements, func(e Element) bool {
		id := identity{string(e.Key), string(e.KeyEnd), e.IntervalEnd, e.CatchAll}
		again := seen[id]
		seen[id] = true
		return again
	})
}

// readOnce reads as many elements as a set is not large with, by a connection of its own:
// the rest of the dump stays unread.
func readOnce(s *Set) (msgs []message, complete bool, err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, false, fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = conn.Close() }()
	return readSome(conn, s, takenAtOnce)
}

// readSome reads elements until there are so many more, and returns what the kernel has
// said of them. If the set has no more than those, it is complete.
func readSome(conn *netlink.Conn, s *Set, most int) (msgs []message, complete bool, err error) {
	begun := len(s.Elements)
	complete, err = dumpUntil(conn, unix.NFT_MSG_GETSETELEM, s.Table.Family, []netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: cstring(s.Table.Name)},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: cstring(s.Name)},
	}, func(m message) (enough bool, err error) {
		elems, err := decodeElements(m.attrs)
		if err != nil {
			return false, err
		}
		s.Elements = append(s.Elements, elems...)
		msgs = append(msgs, m)
		return len(s.Elements)-begun > most, nil
	})
	if err != nil {
		err = fmt.Errorf("list elements: %w", err)
	}
	return msgs, complete, err
}

// msgDestroyElements is NFT_MSG_DESTROYSETELEM, which does not mind what has expired.
const msgDestroyElements = 30

// destroyElements takes elements out of their set, all or none of them, by what the
// kernel has said of them.
func destroyElements(conn *netlink.Conn, s *Set, elements []message) error {
	gen, err := generation(conn)
	if err != nil {
		return err
	}
	msgs := make([]netlink.Message, len(elements))
	for i, e := range elements {
		msgs[i] = netlink.Message{
			Header: netlink.Header{Type: messageType(msgDestroyElements), Flags: netlink.Request | netlink.Acknowledge},
			Data:   append([]byte{byte(s.Table.Family), unix.NFNETLINK_V0, 0, 0}, e.attrs...),
		}
	}
	return batch(msgs, gen)
}
