// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Whatever is reported, reading it ends in a transaction or an error.
func FuzzTransaction(f *testing.F) {
	attrs := func(as ...netlink.Attribute) []byte {
		b, err := netlink.MarshalAttributes(as)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	key := attrs(netlink.Attribute{Type: unix.NFTA_SET_ELEM_KEY, Data: attrs(netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: []byte{10, 0, 0, 1}})})
	head := []byte{byte(FamilyInet), 0, 0, 1}
	element := append(head, attrs(
		netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: cstring("filter")},
		netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: cstring("s")},
		netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_ELEMENTS, Data: attrs(netlink.Attribute{Type: 1, Data: key})},
	)...)
	f.Add(uint8(unix.NFT_MSG_NEWSETELEM), element)
	f.Add(uint8(unix.NFT_MSG_DELSETELEM), element)
	f.Add(uint8(unix.NFT_MSG_NEWTABLE), append(head, attrs(netlink.Attribute{Type: unix.NFTA_TABLE_NAME, Data: cstring("filter")})...))
	f.Add(uint8(unix.NFT_MSG_NEWGEN), append(head, attrs(netlink.Attribute{Type: unix.NFTA_GEN_ID, Data: []byte{0, 0, 0, 9}})...))
	f.Add(uint8(unix.NFT_MSG_NEWSETELEM), element[:7])
	f.Fuzz(func(t *testing.T, typ uint8, data []byte) {
		tx := &Transaction{Tables: map[TableName]bool{}}
		m := netlink.Message{Header: netlink.Header{Type: messageType(int(typ))}, Data: data}
		done, err := tx.add(m)
		if done != (typ == unix.NFT_MSG_NEWGEN && len(data) >= nfgenmsgLen) {
			t.Fatalf("message %d: ends a transaction: %t, %v", typ, done, err)
		}
		if err != nil {
			return
		}
		for _, flags := range []SetFlags{0, SetInterval, SetInterval | SetConcat} {
			NewLiveSet(&Set{Flags: flags}, time.Now()).Apply(tx.Elements, time.Now())
		}
	})
}
