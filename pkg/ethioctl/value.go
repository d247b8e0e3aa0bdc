// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import "encoding/binary"

// SetValue gives a command of include/uapi/linux/ethtool.h that takes one number, as
// those that turn an offload on or off do: struct ethtool_value. Errors are those of
// [Device].
func SetValue(d Device, link string, cmd, value uint32) error {
	data := binary.NativeEndian.AppendUint32(nil, cmd)
	return d.Do(link, binary.NativeEndian.AppendUint32(data, value))
}
