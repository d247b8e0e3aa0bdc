// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsAnswer is the address that serveDNS gives for every name.
var dnsAnswer = netip.MustParseAddr("93.184.216.34")

// dnsTXT fills an answer over TCP beyond what UDP may carry.
const dnsTXTCount = 40

// serveDNS answers every A question with dnsAnswer and every TXT question with
// more than a datagram holds, which UDP truncates.
func serveDNS(ctx context.Context, addrs []netip.AddrPort, ready func()) error {
	errc := make(chan error, 2*len(addrs))
	for _, a := range addrs {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			return err
		}
		defer udp.Close()
		go func() { errc <- dnsOverUDP(udp) }()
		tcp, err := net.Listen("tcp", a.String())
		if err != nil {
			return err
		}
		defer tcp.Close()
		go func() { errc <- dnsOverTCP(tcp) }()
	}
	ready()
	return firstError(ctx, errc)
}

func dnsOverUDP(conn *net.UDPConn) error {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if reply, err := dnsReply(buf[:n], 512); err == nil {
			_, _ = conn.WriteToUDPAddrPort(reply, from) // the client asks again
		}
	}
}

func dnsOverTCP(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for {
				query, err := readDNS(conn)
				if err != nil {
					return
				}
				reply, err := dnsReply(query, 65535)
				if err != nil || writeDNS(conn, reply) != nil {
					return
				}
			}
		}()
	}
}

// readDNS reads a message with the length that precedes it over TCP.
func readDNS(r io.Reader) ([]byte, error) {
	var size uint16
	if err := binary.Read(r, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	msg := make([]byte, size)
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeDNS(w io.Writer, msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

// dnsReply answers a query in at most limit bytes.
func dnsReply(query []byte, limit int) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	if len(m.Questions) != 1 {
		return nil, fmt.Errorf("%d questions, want 1", len(m.Questions))
	}
	q := m.Questions[0]
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	m.Response, m.Authoritative = true, true
	m.Answers, m.Additionals = nil, nil
	switch q.Type {
	case dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: dnsAnswer.As4()}}}
	case dnsmessage.TypeTXT:
		for i := range dnsTXTCount {
			text := fmt.Sprintf("record %02d of an answer that is too long for a datagram", i)
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{text}}})
		}
	}
	reply, err := m.Pack()
	if err == nil && len(reply) > limit {
		m.Truncated, m.Answers = true, nil
		reply, err = m.Pack()
	}
	return reply, err
}
