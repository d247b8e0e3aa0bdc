// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
)

// The lines are those of the kernel's nf_log_syslog for the same packets.
func TestPacketLine(t *testing.T) {
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
			"IN=enp1s0 OUT=br0 SRC=172.16.0.1 DST=192.168.1.50 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=50381 DF PROTO=TCP SPT=32810 DPT=22 WINDOW=64240 RES=0x00 SYN URGP=0"},
		{"TCP with all flags", nfprotoIPv4, protoTCP, 2, 0,
			"45b80028000060004006 0000 ac100001 c0a80132", "00010002000000010000000050ff000100000003",
			"IN=enp1s0 OUT= SRC=172.16.0.1 DST=192.168.1.50 LEN=40 TOS=0x18 PREC=0xA0 TTL=64 ID=0 DF MF PROTO=TCP SPT=1 DPT=2 WINDOW=1 RES=0x00 CWR ECE URG ACK PSH RST SYN FIN URGP=3"},
		{"UDP", nfprotoIPv4, protoUDP, 2, 0,
			"4500001f000100004011 0000 ac100001 ac100002", "9c40270f000b0000",
			"IN=enp1s0 OUT= SRC=172.16.0.1 DST=172.16.0.2 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=40000 DPT=9999 LEN=11"},
		{"later fragment", nfprotoIPv4, protoUDP, 2, 0,
			"4500001f000120b94011 0000 ac100001 ac100002", "",
			"IN=enp1s0 OUT= SRC=172.16.0.1 DST=172.16.0.2 LEN=31 TOS=0x00 PREC=0x00 TTL=64 ID=1 MF FRAG:185 PROTO=UDP"},
		{"ICMP echo", nfprotoIPv4, protoICMP, 0, 2,
			"45000054000100004001 0000 ac100001 ac100002", "0800000012340001",
			"IN= OUT=enp1s0 SRC=172.16.0.1 DST=172.16.0.2 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=ICMP TYPE=8 CODE=0 ID=4660 SEQ=1"},
		{"IPv6 UDP", nfprotoIPv6, protoUDP, 2, 0,
			"6012345600081140 20010db8000000000000000000000001 fd000000000000000000000000000050", "003500350008ffff",
			"IN=enp1s0 OUT= SRC=2001:db8::1 DST=fd00::50 LEN=48 TC=1 HOPLIMIT=64 FLOWLBL=144470 PROTO=UDP SPT=53 DPT=53 LEN=8"},
		{"ICMPv6", nfprotoIPv6, protoICMPv6, 2, 0,
			"6000000000083aff fe800000000000000000000000000001 ff020000000000000000000000000001", "8600000040000000",
			"IN=enp1s0 OUT= SRC=fe80::1 DST=ff02::1 LEN=48 TC=0 HOPLIMIT=255 FLOWLBL=0 PROTO=ICMPv6 TYPE=134 CODE=0"},
		{"another protocol", nfprotoIPv4, 47, 2, 0,
			"450000200001000040 2f0000 ac100001 ac100002", "",
			"IN=enp1s0 OUT= SRC=172.16.0.1 DST=172.16.0.2 LEN=32 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=47"},
		{"TCP cut short", nfprotoIPv4, protoTCP, 2, 0,
			"4500001c000100004006 0000 ac100001 ac100002", "0016001600000001",
			"IN=enp1s0 OUT= SRC=172.16.0.1 DST=172.16.0.2 LEN=28 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=TCP INCOMPLETE [8 bytes]"},
	} {
		e := loader.Event{IIF: c.iif, OIF: c.oif, NFProto: c.proto, L4Proto: c.l4}
		copy(e.NH[:], unhex(t, c.nh))
		e.THLen = uint8(copy(e.TH[:], unhex(t, c.th)))
		if got := packetLine(&e, func(i int) string { return names[i] }); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
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
