// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/randomizedcoder/l2d/pkg/api"
)

type monitorCmd struct {
	What      []string `arg:"" optional:"" help:"What to show, of drops (the default), passed, flows, log, nat, sets, services, with commas; and a filter of packets as tcpdump has them, which the kernel applies." placeholder:"KIND,...|FILTER"`
	Reason    string   `help:"Only drops for this reason, such as drop_policy." placeholder:"NAME"`
	Addr      string   `help:"Only packets from or to an address in this prefix." placeholder:"PREFIX"`
	Port      uint16   `help:"Only packets from or to this port." placeholder:"N"`
	Proto     string   `help:"Only packets of this protocol: tcp, udp, icmp, icmpv6." short:"p" placeholder:"NAME"`
	Interface string   `help:"Only packets at this interface." short:"i" placeholder:"NAME"`
	Rate      uint32   `help:"How many packets each CPU tells in a second at most; the others are counted." default:"1000" placeholder:"N"`
	Count     int      `help:"End after so many lines." short:"c" placeholder:"N"`
	PCAP      string   `help:"Write the packets to this file, in pcapng's format, with a comment that says what became of each." name:"pcap" type:"path" placeholder:"FILE"`
	JSON      bool     `help:"Print one JSON object a line." name:"json"`
}

// errEnough ends a monitor.
var errEnough = errors.New("enough")

// options are what is asked of the daemon.
func (c *monitorCmd) options(ctx context.Context) (o api.WatchOptions, err error) {
	o.Rate, o.Kinds = c.Rate, []string{api.WatchDrops}
	filter := c.What
	if len(filter) > 0 {
		kinds := strings.Split(filter[0], ",")
		known := func(k string) bool { return slices.Contains(api.WatchKinds, k) }
		switch {
		case !slices.ContainsFunc(kinds, func(k string) bool { return !known(k) }):
			o.Kinds, filter = kinds, filter[1:]
		case slices.ContainsFunc(kinds, known):
			return o, fmt.Errorf("%q: want some of %s", filter[0], strings.Join(api.WatchKinds, ","))
		}
	}
	if len(filter) > 0 {
		o.Filter, err = pcapFilter(ctx, strings.Join(filter, " "))
	}
	return o, err
}

// Run implements the command.
func (c *monitorCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return api.BadInput(err)
	}
	o, err := c.options(e.ctx)
	if err != nil {
		return api.BadInput(err)
	}
	var capture *captureWriter
	ready := func() {}
	if c.PCAP != "" {
		file, err := os.OpenFile(c.PCAP, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		// What is in the file stays until there is something to watch.
		ready = func() {
			_ = file.Truncate(0) // a pipe cannot be
			capture = &captureWriter{w: bufio.NewWriter(file), interfaces: map[captureInterface]int{}}
		}
	}
	enc := json.NewEncoder(e.out)
	n := 0
	err = e.client.Watch(e.ctx, o, ready, func(w api.Watched) error {
		if w.Lost > 0 && !c.JSON {
			fmt.Fprintf(e.out, "%s %s: at least %d more are not shown%s\n", w.Time.Format(watchTime), w.Kind, w.Lost, lostHint(&w))
		}
		if w.Packet != nil {
			if !f.selects(w.Packet, decode(w.Packet)) {
				return nil
			}
			if capture != nil {
				if err := capture.write(&w); err != nil {
					return err
				}
			}
		}
		var err error
		if c.JSON {
			err = enc.Encode(w)
		} else if text := watchedText(&w); text != "" {
			_, err = fmt.Fprintln(e.out, w.Time.Format(watchTime), text)
		}
		if n++; err == nil && n == c.Count {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) || e.ctx.Err() != nil {
		err = nil // it was told to end
	}
	if capture != nil {
		err = errors.Join(err, capture.end())
	}
	return err
}

// watchFilter selects packets.
type watchFilter struct {
	c      *monitorCmd
	prefix netip.Prefix
	proto  gopacket.LayerType
}

var watchProtocols = map[string]gopacket.LayerType{
	"tcp": layers.LayerTypeTCP, "udp": layers.LayerTypeUDP, "icmp": layers.LayerTypeICMPv4, "icmpv6": layers.LayerTypeICMPv6,
}

func (c *monitorCmd) filter() (f watchFilter, err error) {
	f.c = c
	if c.Addr != "" {
		if f.prefix, err = netip.ParsePrefix(c.Addr); err != nil {
			a, aerr := netip.ParseAddr(c.Addr)
			if aerr != nil {
				return f, fmt.Errorf("--addr %q: want an address or a prefix", c.Addr)
			}
			f.prefix = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if c.Proto != "" {
		if f.proto = watchProtocols[c.Proto]; f.proto == 0 {
			return f, fmt.Errorf("--proto %q: want tcp, udp, icmp or icmpv6", c.Proto)
		}
	}
	return f, nil
}

func (f *watchFilter) selects(w *api.Packet, p *watchedPacket) bool {
	c := f.c
	switch {
	case c.Reason != "" && w.Reason != c.Reason,
		c.Interface != "" && w.Interface != c.Interface && w.Out != c.Interface,
		f.prefix.IsValid() && !f.prefix.Contains(p.src) && !f.prefix.Contains(p.dst),
		c.Port != 0 && c.Port != p.sport && c.Port != p.dport,
		c.Proto != "" && p.Layer(f.proto) == nil:
		return false
	}
	return true
}

// watchedPacket is what is read of a packet.
type watchedPacket struct {
	gopacket.Packet
	src, dst     netip.Addr
	sport, dport uint16
}

// decode reads the headers that are there.
func decode(w *api.Packet) *watchedPacket {
	return decodeFrame(w.Data, w.Ethernet)
}

func decodeFrame(data []byte, ethernet bool) *watchedPacket {
	first := gopacket.Decoder(layers.LayerTypeEthernet)
	if !ethernet {
		first = layers.LayerTypeIPv4
		if len(data) > 0 && data[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
	}
	p := &watchedPacket{Packet: gopacket.NewPacket(data, first, gopacket.DecodeOptions{Lazy: true, NoCopy: true})}
	if n := p.NetworkLayer(); n != nil {
		p.src, _ = netip.AddrFromSlice(n.NetworkFlow().Src().Raw())
		p.dst, _ = netip.AddrFromSlice(n.NetworkFlow().Dst().Raw())
	}
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		p.sport, p.dport = uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.UDP:
		p.sport, p.dport = uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.SCTP:
		p.sport, p.dport = uint16(l.SrcPort), uint16(l.DstPort)
	}
	return p
}

// text is a packet in the words of l2ctl explain.
func (p *watchedPacket) text() string {
	if !p.src.IsValid() {
		return "no IP packet"
	}
	ends := func(protocol string) string {
		return fmt.Sprintf("%s %v > %v", protocol, netip.AddrPortFrom(p.src, p.sport), netip.AddrPortFrom(p.dst, p.dport))
	}
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		out := ends("tcp")
		for _, f := range []struct {
			set  bool
			name string
		}{{l.SYN, "syn"}, {l.ACK, "ack"}, {l.FIN, "fin"}, {l.RST, "rst"}} {
			if f.set {
				out += " " + f.name
			}
		}
		return out
	case *layers.UDP:
		return ends("udp")
	case *layers.SCTP:
		return ends("sctp")
	}
	if l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return fmt.Sprintf("icmp %v > %v type %d code %d", p.src, p.dst, l.TypeCode.Type(), l.TypeCode.Code())
	}
	if l, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		return fmt.Sprintf("icmpv6 %v > %v type %d code %d", p.src, p.dst, l.TypeCode.Type(), l.TypeCode.Code())
	}
	return fmt.Sprintf("%s %v > %v", p.protocol(), p.src, p.dst)
}

// protocol is the transport protocol's number, of IPv6 behind the extension headers that
// are there.
func (p *watchedPacket) protocol() string {
	protocol := "ip"
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			protocol = strconv.Itoa(int(l.Protocol))
		case *layers.IPv6:
			protocol = strconv.Itoa(int(l.NextHeader))
		case *layers.IPv6HopByHop:
			protocol = strconv.Itoa(int(l.NextHeader))
		case *layers.IPv6Routing:
			protocol = strconv.Itoa(int(l.NextHeader))
		case *layers.IPv6Destination:
			protocol = strconv.Itoa(int(l.NextHeader))
		case *layers.IPv6Fragment:
			protocol = strconv.Itoa(int(l.NextHeader))
		}
	}
	return protocol
}

const watchTime = "15:04:05.000000"

// lostHint says what would have more shown.
func lostHint(w *api.Watched) string {
	if w.Packet == nil {
		return ""
	}
	return ": see --rate"
}

// watchedText is what has happened, on one line.
func watchedText(w *api.Watched) string {
	switch {
	case w.Flow != nil:
		return "flow: " + w.Flow.String()
	case w.Packet == nil && w.Text == "":
		return ""
	case w.Packet == nil:
		return w.Kind + ": " + w.Text
	}
	p := w.Packet
	way := "iif"
	if p.Egress {
		way = "oif"
	}
	text := fmt.Sprintf("%s: %s %s %s", becameOf(p), way, p.Interface, decode(p).text())
	if p.Rewritten == nil {
		return text
	}
	return text + " becomes " + decodeFrame(p.Rewritten, p.Ethernet).text()
}

// becameOf says what has become of a packet.
func becameOf(p *api.Packet) string {
	var b strings.Builder
	b.WriteString(p.Fate)
	if p.Out != "" {
		fmt.Fprintf(&b, " by %s", p.Out)
	}
	if p.Reason != "" {
		fmt.Fprintf(&b, ": %s", p.Reason)
	}
	if r := p.Rule; r != nil {
		fmt.Fprintf(&b, ": %s %s %s: %s", r.Family, r.Table, r.Chain, r.Text)
		if r.Line > 0 {
			fmt.Fprintf(&b, " (line %d)", r.Line)
		}
	}
	if p.NTuple != "" {
		fmt.Fprintf(&b, ": ntuple: %s", p.NTuple)
	}
	return b.String()
}

// captureWriter writes packets in pcapng's format.
type captureWriter struct {
	w          io.Writer
	ng         *pcapgo.NgWriter
	interfaces map[captureInterface]int
}

// captureInterface is an interface of the file.
type captureInterface struct {
	name string
	link layers.LinkType
}

// write writes a packet, and behind it what it was rewritten to.
func (c *captureWriter) write(w *api.Watched) error {
	p := w.Packet
	if err := c.frame(w, p.Interface, p.Egress, p.Data, p.Length, becameOf(p)); err != nil || p.Rewritten == nil {
		return err
	}
	out, egress := p.Interface, p.Egress
	if p.Out != "" {
		out, egress = p.Out, true
	}
	return c.frame(w, out, egress, p.Rewritten, p.RewrittenLength, p.Fate+", as rewritten")
}

func (c *captureWriter) frame(w *api.Watched, name string, egress bool, data []byte, length int, comment string) error {
	i := captureInterface{name, layers.LinkTypeRaw}
	if w.Packet.Ethernet {
		i.link = layers.LinkTypeEthernet
	}
	id, err := c.interfaceOf(i)
	if err != nil {
		return err
	}
	flags := pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
	if egress {
		flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
	}
	info := gopacket.CaptureInfo{Timestamp: w.Time, CaptureLength: len(data), Length: max(length, len(data)), InterfaceIndex: id}
	return c.ng.WritePacketWithOptions(info, data, pcapgo.NgPacketOptions{Comments: []string{comment}, Flags: &flags})
}

// interfaceOf is the number that an interface has in the file.
func (c *captureWriter) interfaceOf(i captureInterface) (int, error) {
	if id, ok := c.interfaces[i]; ok {
		return id, nil
	}
	ng := pcapgo.NgInterface{Name: i.name, LinkType: i.link, TimestampResolution: 9}
	id := 0
	var err error
	if c.ng == nil {
		options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "l2ctl monitor"}}
		c.ng, err = pcapgo.NewNgWriterInterface(c.w, ng, options)
	} else {
		id, err = c.ng.AddInterface(ng)
	}
	if err == nil {
		c.interfaces[i] = id
	}
	return id, err
}

// end writes what is left.
func (c *captureWriter) end() error {
	if c.ng == nil { // a file that can be read, without packets
		if _, err := c.interfaceOf(captureInterface{"none", layers.LinkTypeEthernet}); err != nil {
			return err
		}
	}
	if err := c.ng.Flush(); err != nil {
		return err
	}
	if b, ok := c.w.(*bufio.Writer); ok {
		return b.Flush()
	}
	return nil
}
