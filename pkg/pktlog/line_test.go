// SPDX-License-Identifier: GPL-2.0-only

package pktlog

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
)

// The lines are those of the kernel's nf_log_syslog for the same packets, of
// which no more than the headers is known.
func TestLine(t *testing.T) {
	names := map[int]string{0: "", 2: "enp1s0", 3: "br0"}
	for _, c := range []struct {
		name   string
		proto  uint8
		l4     uint8
		iif    uint32
		oif    uint32
		nh, th string
		want   string
	}{
		{"TCP SYN", nfprotoIPv4, protoTCP, 2, 3,
			"4500003cc4cd40004006 0000 ac100001 c0a80132", "802a001600000001000000 00a002faf000000000",
			"IN=enp1s0 OUT=br0 MAC= SRC=172.16.0.1 DST=192.168.1.50 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=50381 DF PROTO=TCP SPT=32810 DPT=22 WINDOW=64240 RES=0x00 SYN URGP=0"},
		{"TCP with all flags", nfprotoIPv4, protoTCP, 2, 0,
			"45b80028000060004006 0000 ac100001 c0a80132", "00010002000000010000000050ff000100000003",
			"IN=enp1s0 OUT= MAC= SRC=172.16.0.1 DST=192.168.1.50 LEN=40 TOS=0x18 PREC=0xA0 TTL=64 ID=0 DF MF PROTO=TCP SPT=1 DPT=2 WINDOW=1 RES=0x00 CWR ECE URG ACK PSH RST SYN FIN URGP=3"},
		{"UDP", nfprotoIPv4, protoUDP, 2, 0,
			"4500001f000100004011 0000 ac100001 ac100002", "9c40270f000b0000",
			"IN=enp1s0 OUT= MAC= SRC=172.16.0.1 DST=172.16.0.2 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=40000 DPT=9999 LEN=11"},
		{"later fragment", nfprotoIPv4, protoUDP, 2, 0,
			"4500001f000120b94011 0000 ac100001 ac100002", "",
			"IN=enp1s0 OUT= MAC= SRC=172.16.0.1 DST=172.16.0.2 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=1 MF FRAG:185 PROTO=UDP"},
		{"ICMP echo", nfprotoIPv4, protoICMP, 0, 2,
			"45000054000100004001 0000 ac100001 ac100002", "0800000012340001",
			"IN= OUT=enp1s0 SRC=172.16.0.1 DST=172.16.0.2 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=8 CODE=0 ID=4660 SEQ=1"},
		{"IPv6 UDP", nfprotoIPv6, protoUDP, 2, 0,
			"6012345600081140 20010db8000000000000000000000001 fd000000000000000000000000000050", "003500350008ffff",
			"IN=enp1s0 OUT= MAC= SRC=2001:0db8:0000:0000:0000:0000:0000:0001 DST=fd00:0000:0000:0000:0000:0000:0000:0050 LEN=48 TC=1 HOPLIMIT=64 FLOWLBL=144470 PROTO=UDP SPT=53 DPT=53 LEN=8"},
		{"ICMPv6", nfprotoIPv6, protoICMPv6, 2, 0,
			"6000000000083aff fe800000000000000000000000000001 ff020000000000000000000000000001", "8600000040000000",
			"IN=enp1s0 OUT= MAC= SRC=fe80:0000:0000:0000:0000:0000:0000:0001 DST=ff02:0000:0000:0000:0000:0000:0000:0001 LEN=48 TC=0 HOPLIMIT=255 FLOWLBL=0 PROTO=ICMPv6 TYPE=134 CODE=0"},
		{"another protocol", nfprotoIPv4, 47, 2, 0,
			"450000200001000040 2f0000 ac100001 ac100002", "",
			"IN=enp1s0 OUT= MAC= SRC=172.16.0.1 DST=172.16.0.2 LEN=32 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=47"},
		{"TCP cut short", nfprotoIPv4, protoTCP, 2, 0,
			"4500001c000100004006 0000 ac100001 ac100002", "0016001600000001",
			"IN=enp1s0 OUT= MAC= SRC=172.16.0.1 DST=172.16.0.2 LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=TCP INCOMPLETE [8 bytes]"},
	} {
		e := loader.Event{IIF: c.iif, OIF: c.oif, NFProto: c.proto, L4Proto: c.l4, Len: 28}
		copy(e.NH[:], unhex(t, c.nh))
		e.THLen = uint8(copy(e.TH[:], unhex(t, c.th)))
		if got := Line(&e, 0, func(i int) string { return names[i] }); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestLineData has what is behind the headers' first bytes, and in front.
func TestLineData(t *testing.T) {
	const (
		mac       = "02000000000a 02000000000b 0800"
		inner     = "45000030 00070000 40110000 c0a80132 ac100009"
		innerText = "SRC=192.168.1.50 DST=172.16.0.9 LEN=48 TOS=0x00 PREC=0x00 TTL=64 ID=7 PROTO=UDP SPT=5000 DPT=53 LEN=28 "
		inner6    = "60000000 00081140 fd000000000000000000000000000050 20010db8000000000000000000000001"
		ip6       = "60000000 00383a40 20010db8000000000000000000000001 fd000000000000000000000000000050"
		ip6Text   = "SRC=2001:0db8:0000:0000:0000:0000:0000:0001 DST=fd00:0000:0000:0000:0000:0000:0000:0050 LEN=96 TC=0 HOPLIMIT=64 FLOWLBL=0 "
		in        = "IN=enp1s0 OUT= MAC=02:00:00:00:00:0a:02:00:00:00:00:0b:08:00 "
	)
	src := "SRC=172.16.0.9 DST=172.16.0.2 "
	for _, c := range []struct {
		name  string
		flags uint32
		data  string
		want  string
	}{
		{"MAC decoded", logMACDecode, "4500001c 00010000 40110000 ac100009 ac100002 9c40270f00080000",
			"IN=enp1s0 OUT= MACSRC=02:00:00:00:00:0b MACDST=02:00:00:00:00:0a MACPROTO=0800 " + src + "LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=40000 DPT=9999 LEN=8"},
		{"TCP sequence and options", logTCPSeq | logTCPOpt, "4500002c 00014000 40060000 ac100009 ac100002 80000016 00000007 00000009 6012ffff 00000000 020405b4",
			in + src + "LEN=44 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=32768 DPT=22 SEQ=7 ACK=9 WINDOW=65535 RES=0x00 ACK SYN URGP=0 OPT (020405B4)"},
		{"options without the flags", 0, "4600002c 00010000 40060000 ac100009 ac100002 01010100 80000016 00000007 00000009 5012ffff 00000000",
			in + src + "LEN=44 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=TCP SPT=32768 DPT=22 WINDOW=65535 RES=0x00 ACK SYN URGP=0"},
		{"IP options", logIPOpt, "46000020 00010000 40110000 ac100009 ac100002 94040000 9c40270f00080000",
			in + src + "LEN=32 TOS=0x00 PREC=0x00 TTL=64 ID=1 OPT (94040000) PROTO=UDP SPT=40000 DPT=9999 LEN=8"},
		{"ICMP error", 0, "45000038 00010000 40010000 ac100009 ac100002 03030000 00000000" + inner + "13880035 001c0000",
			in + src + "LEN=56 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=3 CODE=3 [" + innerText + "]"},
		{"fragmentation needed", 0, "45000038 00010000 40010000 ac100009 ac100002 03040000 000005dc" + inner + "13880035 001c0000",
			in + src + "LEN=56 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=3 CODE=4 [" + innerText + "] MTU=1500"},
		{"ICMP error cut off", 0, "45000030 00010000 40010000 ac100009 ac100002 03030000 00000000" + inner,
			in + src + "LEN=48 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=3 CODE=3 [SRC=192.168.1.50 DST=172.16.0.9 LEN=48 TOS=0x00 PREC=0x00 TTL=64 ID=7 PROTO=UDP INCOMPLETE [0 bytes] ]"},
		{"redirect", 0, "45000038 00010000 40010000 ac100009 ac100002 05010000 ac100001" + inner + "13880035 001c0000",
			in + src + "LEN=56 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=5 CODE=1 GATEWAY=172.16.0.1 [" + innerText + "]"},
		{"AH", 0, "45000020 00010000 40330000 ac100009 ac100002 11040000 f1234567 00000001",
			in + src + "LEN=32 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=AH SPI=0xf1234567"},
		{"ICMPv6 error", 0, ip6 + "02000000 00000500" + inner6 + "13880035 00080000",
			in + ip6Text + "PROTO=ICMPv6 TYPE=2 CODE=0 [SRC=fd00:0000:0000:0000:0000:0000:0000:0050 DST=2001:0db8:0000:0000:0000:0000:0000:0001 LEN=48 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=UDP SPT=5000 DPT=53 LEN=8 ] MTU=1280"},
		{"extension headers", logIPOpt, "60000000 00100040 20010db8000000000000000000000001 fd000000000000000000000000000050 1100050200000000 0035003500080000",
			in + "SRC=2001:0db8:0000:0000:0000:0000:0000:0001 DST=fd00:0000:0000:0000:0000:0000:0000:0050 LEN=56 TC=0 HOPLIMIT=64 FLOWLBL=0 OPT ( ) PROTO=UDP SPT=53 DPT=53 LEN=8"},
	} {
		data := unhex(t, c.data)
		e := loader.Event{IIF: 2, NFProto: nfprotoIPv4, Flags: loader.EventMAC, Len: uint32(len(data))}
		copy(e.MAC[:], unhex(t, mac))
		e.DataLen = uint16(copy(e.Data[:], data))
		header := int(data[0]&15) * 4
		if data[0]>>4 == 6 {
			e.NFProto, header = nfprotoIPv6, 40
			if data[6] == 0 {
				header += 8
			}
		}
		copy(e.NH[:], data)
		e.L4Offset = uint16(header)
		e.THLen = uint8(copy(e.TH[:], data[header:]))
		if got := Line(&e, c.flags, func(i int) string { return []string{"", "", "enp1s0"}[i] }); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestFrameLine is of what only chains of interfaces see.
func TestFrameLine(t *testing.T) {
	e := loader.Event{IIF: 2, Flags: loader.EventMAC, Len: 28}
	copy(e.MAC[:], unhex(t, "ffffffffffff 02000000000b 0806"))
	e.DataLen = uint16(copy(e.Data[:], unhex(t, "0001 0800 06 04 0001 02000000000b ac100009 000000000000 ac100002")))
	name := func(int) string { return "x" }
	const arp = "ARP HTYPE=1 PTYPE=0x0800 OPCODE=1 MACSRC=02:00:00:00:00:0b IPSRC=172.16.0.9 MACDST=00:00:00:00:00:00 IPDST=172.16.0.2"
	if got, want := Line(&e, 0, name), "IN=x OUT=x "+arp; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := Line(&e, logMACDecode, name), "IN=x OUT=x MACSRC=02:00:00:00:00:0b MACDST=ff:ff:ff:ff:ff:ff MACPROTO=0806 "+arp; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	copy(e.MAC[12:], unhex(t, "88cc"))
	if got, want := Line(&e, 0, name), "IN=x OUT=x MAC=ff:ff:ff:ff:ff:ff:02:00:00:00:00:0b:88:cc"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestOwner: of packets of the host's own, and of no others.
func TestOwner(t *testing.T) {
	e := loader.Event{NFProto: nfprotoIPv4, Flags: loader.EventSocket, UID: 1000, GID: 100, Mark: 7, L4Proto: 47}
	copy(e.NH[:], unhex(t, "45000014 00010000 402f0000 ac100002 ac100009"))
	const want = "IN= OUT= SRC=172.16.0.2 DST=172.16.0.9 LEN=20 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=47 UID=1000 GID=100 MARK=0x7"
	if got := Line(&e, 8, func(int) string { return "" }); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := Audit(&e), "mark=0x7 saddr=172.16.0.2 daddr=172.16.0.9 proto=47"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
