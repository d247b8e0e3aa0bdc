// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Packet is one to be explained.
type Packet struct {
	// In is the interface that it comes in by; empty: the router sends it. Out is
	// the one that it leaves by then; empty: as the routes say.
	In, Out  string
	Src, Dst netip.AddrPort
	Protocol uint8
	// TCPFlags are those of the header: fin 1, syn 2, rst 4, psh 8, ack 16, urg 32,
	// ece 64, cwr 128.
	TCPFlags uint8
	Seq, Ack uint32
	Window   uint16
	// Type, Code and ID are those of ICMP.
	Type, Code uint8
	ID         uint16
	TTL        uint8
	DSCP       uint8
	Mark       uint32
	Payload    []byte
}

// Syntax is the language of packets, for those who make a mistake in it.
const Syntax = `[iif NAME | oif NAME] tcp|udp|udplite|icmp|icmpv6|sctp|NUMBER SOURCE[:PORT] > DESTINATION[:PORT] [WORD...]`

// protocols that have ports, or types.
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136
)

var protocols = map[string]uint8{
	"icmp": protoICMP, "tcp": protoTCP, "udp": protoUDP, "icmpv6": protoICMPv6, "sctp": protoSCTP, "udplite": protoUDPLite,
	"igmp": 2, "gre": 47, "esp": 50, "ah": 51,
}

var tcpFlags = map[string]uint8{"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}

var icmpTypes = map[uint8]map[string]uint8{
	protoICMP:   {"echo-reply": 0, "echo-request": 8, "timestamp-request": 13, "timestamp-reply": 14},
	protoICMPv6: {"echo-request": 128, "echo-reply": 129, "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136},
}

func hasPorts(protocol uint8) bool {
	return slices.Contains([]uint8{protoTCP, protoUDP, protoSCTP, protoUDPLite}, protocol)
}

// SyntaxError is what is wrong with the text of a packet.
type SyntaxError struct {
	Text string
	// Column of the word that is wrong, from 1 on; behind the text if one is missing.
	Column int
	Word   string
	Want   string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	if e.Word == "" {
		return fmt.Sprintf("packet %q: column %d: it ends too early: want %s", e.Text, e.Column, e.Want)
	}
	return fmt.Sprintf("packet %q: column %d: %q: want %s", e.Text, e.Column, e.Word, e.Want)
}

// parser reads word by word.
type parser struct {
	text  string
	words []string
	at    []int // columns
	next  int
}

func newParser(text string) *parser {
	p := &parser{text: text}
	for rest, column := text, 1; ; {
		trimmed := strings.TrimLeft(rest, " \t\n,")
		column += len(rest) - len(trimmed)
		if trimmed == "" {
			return p
		}
		n := strings.IndexAny(trimmed, " \t\n,")
		if n < 0 {
			n = len(trimmed)
		}
		p.words, p.at = append(p.words, trimmed[:n]), append(p.at, column)
		rest, column = trimmed[n:], column+n
	}
}

func (p *parser) peek() string {
	if p.next < len(p.words) {
		return p.words[p.next]
	}
	return ""
}

// word takes the next word; there has to be one.
func (p *parser) word(want string) (string, error) {
	w := p.peek()
	if w == "" {
		return "", &SyntaxError{p.text, len(p.text) + 1, "", want}
	}
	p.next++
	return w, nil
}

// wrong refuses the word that was taken last.
func (p *parser) wrong(want string) error {
	i := p.next - 1
	return &SyntaxError{p.text, p.at[i], p.words[i], want}
}

func (p *parser) number(bits int) (uint64, error) {
	want := fmt.Sprintf("a number from 0 to %d", uint64(1)<<bits-1)
	w, err := p.word(want)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(w, 0, bits)
	if err != nil {
		return 0, p.wrong(want)
	}
	return n, nil
}

// ParsePacket reads a packet as it is written: [Syntax]. Every error is a
// [*SyntaxError].
func ParsePacket(text string) (*Packet, error) {
	p := newParser(text)
	pkt := &Packet{TTL: 64, Window: 65535}
	if w := p.peek(); w == "iif" || w == "oif" {
		p.next++
		name, err := p.word("the name of an interface")
		if err != nil {
			return nil, err
		}
		if w == "iif" {
			pkt.In = strings.Trim(name, `"`)
		} else {
			pkt.Out = strings.Trim(name, `"`)
		}
	}
	const wantProtocol = "iif NAME, oif NAME, or a protocol: tcp, udp, icmp, icmpv6, sctp, udplite, gre, esp, ah, igmp or a number"
	w, err := p.word(wantProtocol)
	if err != nil {
		return nil, err
	}
	known := false
	if pkt.Protocol, known = protocols[w]; !known {
		n, err := strconv.ParseUint(w, 0, 8)
		if err != nil {
			return nil, p.wrong(wantProtocol)
		}
		pkt.Protocol = uint8(n)
	}
	if err := p.ends(pkt); err != nil {
		return nil, err
	}
	pkt.begin()
	for p.peek() != "" {
		if err := p.option(pkt); err != nil {
			return nil, err
		}
	}
	return pkt, nil
}

// begin is what a packet has that nothing more is said of.
func (pkt *Packet) begin() {
	switch pkt.Protocol {
	case protoICMP:
		pkt.Type = 8
	case protoICMPv6:
		pkt.Type = 128
	}
}

// ends reads the addresses.
func (p *parser) ends(pkt *Packet) error {
	var err error
	if pkt.Src, err = p.end(pkt.Protocol); err != nil {
		return err
	}
	const wantArrow = `">" between the source and the destination`
	w, err := p.word(wantArrow)
	if err != nil {
		return err
	}
	if w != ">" {
		return p.wrong(wantArrow)
	}
	if pkt.Dst, err = p.end(pkt.Protocol); err != nil {
		return err
	}
	if pkt.Src.Addr().Is4() != pkt.Dst.Addr().Is4() {
		return p.wrong("an address of the same family as the source's")
	}
	if pkt.Protocol == protoICMP && !pkt.Src.Addr().Is4() || pkt.Protocol == protoICMPv6 && pkt.Src.Addr().Is4() {
		return p.wrong("IPv4 addresses with icmp, IPv6 ones with icmpv6")
	}
	return nil
}

func (p *parser) end(protocol uint8) (netip.AddrPort, error) {
	want := "an address"
	if hasPorts(protocol) {
		want = "an address and a port, such as 192.0.2.1:443 or [2001:db8::1]:443"
	}
	w, err := p.word(want)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if hasPorts(protocol) {
		a, err := netip.ParseAddrPort(w)
		if err != nil || a.Addr().Zone() != "" || a.Addr().Is4In6() {
			return a, p.wrong(want)
		}
		return a, nil
	}
	a, err := netip.ParseAddr(strings.Trim(w, "[]"))
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.AddrPort{}, p.wrong(want)
	}
	return netip.AddrPortFrom(a, 0), nil
}

// option reads one of the words behind the addresses.
func (p *parser) option(pkt *Packet) error {
	w, _ := p.word("")
	if flag, ok := tcpFlags[w]; ok && pkt.Protocol == protoTCP && w != "ack" {
		pkt.TCPFlags |= flag
		return nil
	}
	set := func(bits int, to func(uint64)) error {
		n, err := p.number(bits)
		if err == nil {
			to(n)
		}
		return err
	}
	tcp := pkt.Protocol == protoTCP
	icmp := pkt.Protocol == protoICMP || pkt.Protocol == protoICMPv6
	switch {
	case w == "ack" && tcp:
		pkt.TCPFlags |= tcpFlags[w]
		if _, err := strconv.ParseUint(p.peek(), 0, 32); err != nil {
			return nil
		}
		return set(32, func(n uint64) { pkt.Ack = uint32(n) })
	case w == "seq" && tcp:
		return set(32, func(n uint64) { pkt.Seq = uint32(n) })
	case w == "win" && tcp:
		return set(16, func(n uint64) { pkt.Window = uint16(n) })
	case w == "type" && icmp:
		if n, ok := icmpTypes[pkt.Protocol][p.peek()]; ok {
			p.next++
			pkt.Type = n
			return nil
		}
		return set(8, func(n uint64) { pkt.Type = uint8(n) })
	case w == "code" && icmp:
		return set(8, func(n uint64) { pkt.Code = uint8(n) })
	case w == "id" && icmp:
		return set(16, func(n uint64) { pkt.ID = uint16(n) })
	case w == "ttl" || w == "hoplimit":
		return set(8, func(n uint64) { pkt.TTL = uint8(n) })
	case w == "dscp":
		return set(6, func(n uint64) { pkt.DSCP = uint8(n) })
	case w == "mark":
		return set(32, func(n uint64) { pkt.Mark = uint32(n) })
	case w == "length":
		return p.length(pkt)
	case w == "payload":
		return p.payload(pkt)
	}
	return p.wrong(wantOption(tcp, icmp))
}

func wantOption(tcp, icmp bool) string {
	want := "ttl N, dscp N, mark N, length N or payload HEX"
	switch {
	case tcp:
		return "syn, ack [N], fin, rst, psh, urg, ece, cwr, seq N, win N, " + want
	case icmp:
		return "type N, code N, id N, " + want
	}
	return want
}

// maxPayload keeps a packet within one page, which the kernel runs it in.
const maxPayload = 1400

func (p *parser) length(pkt *Packet) error {
	n, err := p.number(16)
	if err == nil && n > maxPayload {
		err = p.wrong(fmt.Sprintf("at most %d bytes behind the transport header", maxPayload))
	}
	if err == nil {
		pkt.Payload = make([]byte, n)
	}
	return err
}

func (p *parser) payload(pkt *Packet) error {
	want := fmt.Sprintf("at most %d bytes in hexadecimal", maxPayload)
	w, err := p.word(want)
	if err != nil {
		return err
	}
	b, err := hex.DecodeString(strings.TrimPrefix(w, "0x"))
	if err != nil || len(b) > maxPayload {
		return p.wrong(want)
	}
	pkt.Payload = b
	return nil
}
