// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// RSS is how an interface spreads packets over its receive queues. What the driver
// does not show is empty.
type RSS struct {
	// Table has a queue for each value of the hash's low bits.
	Table []uint32
	// Key is the secret of the Toeplitz hash.
	Key []byte
}

// struct ethtool_rxfh: this, and behind it the table and the key.
const (
	rxfhTableSize = 8  // entries
	rxfhKeySize   = 12 // bytes
	rxfhTransform = 17
	rxfhLen       = 24

	rxfhNoChange = 0xff // RXH_XFRM_NO_CHANGE
	rxfhNoTable  = 1<<32 - 1
)

func rxfh(command uint32, entries, key uint32) []byte {
	b := make([]byte, rxfhLen)
	binary.NativeEndian.PutUint32(b, command)
	binary.NativeEndian.PutUint32(b[rxfhTableSize:], entries)
	binary.NativeEndian.PutUint32(b[rxfhKeySize:], key)
	return b
}

// GetRSS reads how an interface spreads packets. The error is
// errors.ErrUnsupported if its driver does not tell.
func GetRSS(d Device, link string) (RSS, error) {
	sizes := rxfh(unix.ETHTOOL_GRSSH, 0, 0)
	if err := d.Do(link, sizes); err != nil {
		return RSS{}, fmt.Errorf("rss of %s: %w", link, err)
	}
	entries, key := binary.NativeEndian.Uint32(sizes[rxfhTableSize:]), binary.NativeEndian.Uint32(sizes[rxfhKeySize:])
	const most = 1 << 20 // bytes: of no device that there is
	if entries > most/4 || key > most {
		return RSS{}, fmt.Errorf("rss of %s: a table of %d and a key of %d bytes", link, entries, key)
	}
	if entries == 0 && key == 0 {
		return RSS{}, fmt.Errorf("rss of %s: %w", link, errors.ErrUnsupported)
	}
	all := append(rxfh(unix.ETHTOOL_GRSSH, entries, key), make([]byte, 4*entries+key)...)
	if err := d.Do(link, all); err != nil {
		return RSS{}, fmt.Errorf("rss of %s: %w", link, err)
	}
	s := RSS{Table: make([]uint32, entries)}
	for i := range s.Table {
		s.Table[i] = binary.NativeEndian.Uint32(all[rxfhLen+4*i:])
	}
	s.Key = all[rxfhLen+4*entries:]
	return s, nil
}

// SetRSS changes how an interface spreads packets. A key that is empty is left as
// it is, and so is a table that is nil; one of length 0 becomes the kernel's own
// again: all queues in turn.
func SetRSS(d Device, link string, to RSS) error {
	entries := uint32(rxfhNoTable)
	if to.Table != nil {
		entries = uint32(len(to.Table))
	}
	b := rxfh(unix.ETHTOOL_SRSSH, entries, uint32(len(to.Key)))
	b[rxfhTransform] = rxfhNoChange
	for _, queue := range to.Table {
		b = binary.NativeEndian.AppendUint32(b, queue)
	}
	if err := d.Do(link, append(b, to.Key...)); err != nil {
		return fmt.Errorf("rss of %s: %w", link, err)
	}
	return nil
}
