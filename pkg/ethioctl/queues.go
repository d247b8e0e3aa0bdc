// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Queues is how many receive queues an interface has.
func Queues(d Device, link string) (uint32, error) {
	b := make([]byte, rxnfcLen)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRXRINGS)
	if err := d.Do(link, b); err != nil {
		return 0, fmt.Errorf("receive queues of %s: %w", link, err)
	}
	return uint32(binary.NativeEndian.Uint64(b[rxnfcData:])), nil
}
