// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// ReadCapture reads the packet with a number, from 1 on, of a file in pcap's format or
// pcapng's. Ethernet tells whether it begins with such a header, or with IP's.
func ReadCapture(path string, number int) (frame []byte, ethernet bool, err error) {
	if number < 1 {
		return nil, false, fmt.Errorf("packet %d: packets are numbered from 1 on", number)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	r, err := captureReader(bufio.NewReader(f))
	if err != nil {
		return nil, false, fmt.Errorf("%s: neither pcap nor pcapng: %w", path, err)
	}
	for n := 1; ; n++ {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return nil, false, fmt.Errorf("%s: packet %d: there are %d", path, number, n-1)
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: packet %d: %w", path, n, err)
		}
		if n < number {
			continue
		}
		if info.CaptureLength < info.Length {
			return nil, false, fmt.Errorf("%s: packet %d: %d bytes of %d were captured: want it whole", path, n, info.CaptureLength, info.Length)
		}
		switch typ := r.LinkType(); typ {
		case layers.LinkTypeEthernet:
			return data, true, nil
		case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
			return data, false, nil
		default:
			return nil, false, fmt.Errorf("%s: link type %v: want Ethernet or raw IP", path, typ)
		}
	}
}

// reader is what both formats' have.
type reader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func captureReader(r *bufio.Reader) (reader, error) {
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
