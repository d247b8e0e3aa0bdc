// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	sssetInfoLen = 16 // struct ethtool_sset_info without its data
	gstringsLen  = 12
	gstatsLen    = 8
	// ETH_SS_STATS and ETH_GSTRING_LEN.
	ssStats    = 1
	gstringLen = 32
	// mostStats bounds what a driver is believed to have.
	mostStats = 1 << 16
)

// Statistic is a number that a driver counts by itself.
type Statistic struct {
	Name  string
	Value uint64
}

// Statistics are those of an interface's driver, in its order: what "ethtool -S"
// shows. Drivers without any have none, which is no error.
func Statistics(d Device, link string) ([]Statistic, error) {
	list, err := statistics(d, link)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("statistics of %s: %w", link, err)
	}
	return list, nil
}

func statistics(d Device, link string) ([]Statistic, error) {
	order := binary.NativeEndian
	b := make([]byte, sssetInfoLen+4)
	order.PutUint32(b, unix.ETHTOOL_GSSET_INFO)
	order.PutUint64(b[8:], 1<<ssStats)
	if err := d.Do(link, b); err != nil {
		return nil, err
	}
	if order.Uint64(b[8:]) == 0 {
		return nil, nil
	}
	n := order.Uint32(b[sssetInfoLen:])
	if n == 0 || n > mostStats {
		return nil, nil
	}
	names := make([]byte, gstringsLen+n*gstringLen)
	order.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	order.PutUint32(names[4:], ssStats)
	order.PutUint32(names[8:], n)
	if err := d.Do(link, names); err != nil {
		return nil, err
	}
	values := make([]byte, gstatsLen+n*8)
	order.PutUint32(values, unix.ETHTOOL_GSTATS)
	order.PutUint32(values[4:], n)
	if err := d.Do(link, values); err != nil {
		return nil, err
	}
	// Fewer are there if the number of queues has changed in between.
	n = min(n, order.Uint32(names[8:]), order.Uint32(values[4:]))
	list := make([]Statistic, n)
	for i := range list {
		name := names[gstringsLen+i*gstringLen:][:gstringLen]
		name, _, _ = bytes.Cut(name, []byte{0})
		list[i] = Statistic{string(name), order.Uint64(values[gstatsLen+i*8:])}
	}
	return list, nil
}
