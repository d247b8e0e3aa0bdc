// SPDX-License-Identifier: GPL-2.0-only

package nft

import "fmt"

// MetaKey is NFT_META_*.
type MetaKey uint32

// The keys that have a use here.
const (
	MetaLen        MetaKey = 0
	MetaProtocol   MetaKey = 1
	MetaPriority   MetaKey = 2
	MetaMark       MetaKey = 3
	MetaIif        MetaKey = 4
	MetaOif        MetaKey = 5
	MetaIifname    MetaKey = 6
	MetaOifname    MetaKey = 7
	MetaIiftype    MetaKey = 8
	MetaOiftype    MetaKey = 9
	MetaSkuid      MetaKey = 10
	MetaSkgid      MetaKey = 11
	MetaNftrace    MetaKey = 12
	MetaRtclassid  MetaKey = 13
	MetaSecmark    MetaKey = 14
	MetaNfproto    MetaKey = 15
	MetaL4proto    MetaKey = 16
	MetaBriIifname MetaKey = 17
	MetaBriOifname MetaKey = 18
	MetaPkttype    MetaKey = 19
	MetaCPU        MetaKey = 20
	MetaIifgroup   MetaKey = 21
	MetaOifgroup   MetaKey = 22
	MetaCgroup     MetaKey = 23
	MetaRandom     MetaKey = 24
	MetaSecpath    MetaKey = 25
	MetaIifkind    MetaKey = 26
	MetaOifkind    MetaKey = 27
	MetaBriIifpvid MetaKey = 28
	MetaBriVproto  MetaKey = 29
	MetaTime       MetaKey = 30
	MetaDay        MetaKey = 31
	MetaHour       MetaKey = 32
	MetaSdif       MetaKey = 33
	MetaSdifname   MetaKey = 34
	MetaBroute     MetaKey = 35
)

var metaNames = []string{
	"length", "protocol", "priority", "mark", "iif", "oif", "iifname", "oifname", "iiftype", "oiftype", "skuid", "skgid",
	"nftrace", "rtclassid", "secmark", "nfproto", "l4proto", "ibrname", "obrname", "pkttype", "cpu", "iifgroup", "oifgroup",
	"cgroup", "random", "secpath", "iifkind", "oifkind", "ibrpvid", "ibrvproto", "time", "day", "hour", "sdif", "sdifname",
	"broute",
}

// String returns the key as nft writes it.
func (k MetaKey) String() string {
	if int(k) < len(metaNames) {
		return metaNames[k]
	}
	return fmt.Sprintf("key %d", uint32(k))
}

// CtKey is NFT_CT_*.
type CtKey uint32

// The keys that have a use here.
const (
	CtState      CtKey = 0
	CtDirection  CtKey = 1
	CtStatus     CtKey = 2
	CtMark       CtKey = 3
	CtExpiration CtKey = 5
	CtHelper     CtKey = 6
	CtL3proto    CtKey = 7
	CtSrc        CtKey = 8 // of the length of the table's family
	CtDst        CtKey = 9
	CtProtocol   CtKey = 10
	CtProtoSrc   CtKey = 11
	CtProtoDst   CtKey = 12
	CtLabels     CtKey = 13
	CtPackets    CtKey = 14
	CtBytes      CtKey = 15
	CtAvgpkt     CtKey = 16
	CtZone       CtKey = 17
	CtEvent      CtKey = 18
	CtSrcIP      CtKey = 19
	CtDstIP      CtKey = 20
	CtSrcIP6     CtKey = 21
	CtDstIP6     CtKey = 22
	CtID         CtKey = 23
)

var ctNames = []string{
	"state", "direction", "status", "mark", "secmark", "expiration", "helper", "l3proto", "src", "dst", "protocol",
	"proto-src", "proto-dst", "label", "packets", "bytes", "avgpkt", "zone", "event", "src ip", "dst ip", "src ip6",
	"dst ip6", "id",
}

// String returns the key as nft writes it.
func (k CtKey) String() string {
	if int(k) < len(ctNames) {
		return ctNames[k]
	}
	return fmt.Sprintf("key %d", uint32(k))
}
