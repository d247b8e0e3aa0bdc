// SPDX-License-Identifier: GPL-2.0-only

package nlmon

import (
	"encoding/binary"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// linkType is LINKTYPE_NETLINK: in front of each datagram are 16 bytes that say how it was seen.
const linkType = 253

// fileHeader begins a file, draft-ietf-opsawg-pcap: the byte order is this machine's, as
// that of netlink is.
func fileHeader() []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0xa1b2c3d4) // times in µs
	b = binary.NativeEndian.AppendUint16(b, 2)
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = binary.NativeEndian.AppendUint64(b, 0) // reserved
	b = binary.NativeEndian.AppendUint32(b, maxMessage+cookedLen)
	return binary.NativeEndian.AppendUint32(b, linkType)
}

// cookedLen is the length of what says how a datagram was seen.
const cookedLen = 16

// writePacket writes a datagram, of length bytes of which there may be less.
func writePacket(w io.Writer, at time.Time, kind uint8, protocol uint16, data []byte, length int) error {
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, 32+len(data)), uint32(at.Unix()))
	b = binary.NativeEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = binary.NativeEndian.AppendUint32(b, uint32(cookedLen+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(cookedLen+length))
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = binary.BigEndian.AppendUint16(b, unix.ARPHRD_NETLINK)
	b = append(b, make([]byte, 10)...)
	b = binary.BigEndian.AppendUint16(b, protocol)
	_, err := w.Write(append(b, data...))
	return err
}
