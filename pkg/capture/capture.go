// SPDX-License-Identifier: GPL-2.0-only

// Package capture reads packets of capture files.
package capture

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/randomizedcoder/l2d/pkg/explain"
)

// Packet is a packet of a capture file.
type Packet struct {
	// Frame begins with an Ethernet header if Ethernet is true, or with IP's.
	Frame    []byte
	Ethernet bool
	// Before are fragments of the same datagram that came before it.
	Before [][]byte
}

const etherLen = 14 // of a header

// Read reads the packet with a number, from 1 on, of a file in pcap's format or
// pcapng's.
func Read(path string, number int) (*Packet, error) {
	if number < 1 {
		return nil, fmt.Errorf("packet %d: packets are numbered from 1 on", number)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := read(f, number)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func read(from io.Reader, number int) (*Packet, error) {
	r, err := readerOf(bufio.NewReader(from))
	if err != nil {
		return nil, fmt.Errorf("neither pcap nor pcapng: %w", err)
	}
	c := &Packet{}
	var before []Packet // fragments
	for n := 1; ; n++ {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return nil, fmt.Errorf("packet %d: there are %d", number, n-1)
		}
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", n, err)
		}
		switch typ := r.LinkType(); typ {
		case layers.LinkTypeEthernet:
			c.Ethernet = true
		case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
		default:
			return nil, fmt.Errorf("link type %v: want Ethernet or raw IP", typ)
		}
		whole := info.CaptureLength == info.Length
		if n < number {
			if b := (Packet{Frame: data, Ethernet: c.Ethernet}); whole && b.datagram() != (datagram{}) {
				before = append(before, b)
				before = before[max(0, len(before)-explain.MostBefore):]
			}
			continue
		}
		if !whole {
			return nil, fmt.Errorf("packet %d: %d bytes of %d were captured: want it whole", n, info.CaptureLength, info.Length)
		}
		c.Frame = data
		if d := c.datagram(); d != (datagram{}) {
			for i := range before {
				if before[i].datagram() == d {
					c.Before = append(c.Before, before[i].Frame)
				}
			}
		}
		return c, nil
	}
}

// datagram is what fragments of one have in common.
type datagram struct {
	src, dst netip.Addr
	protocol uint8
	id       uint32
}

// datagram is that of a fragment; zero: it is none.
func (c *Packet) datagram() (d datagram) {
	ip := c.Frame
	if c.Ethernet {
		if len(ip) < etherLen {
			return d
		}
		ip = ip[etherLen:]
	}
	const fragmentHeader = 44 // the next header of IPv6
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4 && binary.BigEndian.Uint16(ip[6:])&0x3fff != 0:
		return datagram{netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[9], uint32(binary.BigEndian.Uint16(ip[4:]))}
	case len(ip) >= 48 && ip[0]>>4 == 6 && ip[6] == fragmentHeader:
		return datagram{netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), 0, binary.BigEndian.Uint32(ip[44:])}
	}
	return d
}

// reader is what both formats' have.
type reader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func readerOf(r *bufio.Reader) (reader, error) {
	const ngMagic = 0x0a0d0d0a
	b, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	if uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]) == ngMagic {
		return pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	}
	return pcapgo.NewReader(r)
}
