// SPDX-License-Identifier: GPL-2.0-only

// Package testframe makes packets that several packages' tests look at.
package testframe

import (
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Fragment is one of IPv4 and UDP with 24 bytes of data, from the IP header on. The offset is in bytes; more says
// that it is not the datagram's last.
func Fragment(id, offset uint16, more bool) []byte {
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, Id: id, FragOffset: offset / 8,
		SrcIP: net.IPv4(192, 168, 7, 2), DstIP: net.IPv4(198, 51, 7, 9),
	}
	if more {
		ip.Flags = layers.IPv4MoreFragments
	}
	data := make(gopacket.Payload, 24)
	copy(data, []byte{0, 1, 0, 2, 0, 56}) // ports and a length, where it is the first
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, data); err != nil {
		panic(err) // no header of these can fail
	}
	return b.Bytes()
}
