// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/genetlink"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/mdlayher/wifi"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel is what the kernel says of radios, as far as it does.
type kernel struct {
	c          *wifi.Client    // nil: it has none
	stations   *genetlink.Conn // nil likewise
	family     genetlink.Family
	links      map[string]*wifi.Interface
	neighbours map[string][]netip.Addr
}

func newKernel() *kernel {
	k := &kernel{links: map[string]*wifi.Interface{}, neighbours: Neighbours()}
	c, err := wifi.New()
	if err != nil {
		return k
	}
	k.c = c
	links, _ := c.Interfaces()
	for _, l := range links {
		k.links[l.Name] = l
	}
	if conn, err := genetlink.Dial(nil); err == nil {
		if k.family, err = conn.GetFamily(unix.NL80211_GENL_NAME); err != nil {
			_ = conn.Close()
			return k
		}
		k.stations = conn
	}
	return k
}

func (k *kernel) close() {
	if k.c != nil {
		_ = k.c.Close()
	}
	if k.stations != nil {
		_ = k.stations.Close()
	}
}

// Neighbours are the addresses that the kernel knows of stations and other hosts, by MAC address in lower case.
func Neighbours() map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	list, _ := netlink.NeighList(0, netlink.FAMILY_ALL) // of a link that is gone meanwhile there is nothing to say
	for _, n := range list {
		a, ok := netip.AddrFromSlice(n.IP)
		const known = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
		if ok && n.State&known != 0 {
			mac := n.HardwareAddr.String()
			out[mac] = append(out[mac], a.Unmap())
		}
	}
	return out
}

// station is what the kernel says of one.
type station struct {
	*wifi.StationInfo
	use stationUse
}

// stationUse is what package wifi does not read.
type stationUse struct {
	receive, send time.Duration
	queue         *StationQueue // nil: not told
}

// stationsOf are those of a radio by their address.
func (k *kernel) stationsOf(link string) map[string]station {
	out := map[string]station{}
	l := k.links[link]
	if l == nil || k.stations == nil {
		return out
	}
	ae := mdnetlink.NewAttributeEncoder()
	ae.Uint32(unix.NL80211_ATTR_IFINDEX, uint32(l.Index))
	b, err := ae.Encode()
	if err != nil {
		return out
	}
	ask := genetlink.Message{Header: genetlink.Header{Command: unix.NL80211_CMD_GET_STATION, Version: k.family.Version}, Data: b}
	list, _ := k.stations.Execute(ask, k.family.ID, mdnetlink.Request|mdnetlink.Dump) // none
	for _, m := range list {
		info, err := wifi.ParseStationInfo(m.Data)
		if err != nil {
			continue // another kernel's, or not a station
		}
		out[info.HardwareAddr.String()] = station{info, parseUse(m.Data)}
	}
	return out
}

// parseUse reads a message of NL80211_CMD_NEW_STATION; what is not in it stays zero.
func parseUse(b []byte) (u stationUse) {
	attributes(b, func(typ uint16, ad *mdnetlink.AttributeDecoder) {
		if typ == unix.NL80211_ATTR_STA_INFO {
			attributes(ad.Bytes(), u.attribute)
		}
	})
	return u
}

// attributes calls yield with each attribute. What is cut off ends them.
func attributes(b []byte, yield func(typ uint16, ad *mdnetlink.AttributeDecoder)) {
	ad, err := mdnetlink.NewAttributeDecoder(b)
	if err != nil {
		return
	}
	for ad.Next() {
		yield(ad.Type(), ad)
	}
}

func (u *stationUse) attribute(typ uint16, ad *mdnetlink.AttributeDecoder) {
	switch typ {
	case unix.NL80211_STA_INFO_RX_DURATION:
		u.receive = microseconds(ad.Uint64())
	case unix.NL80211_STA_INFO_TX_DURATION:
		u.send = microseconds(ad.Uint64())
	case unix.NL80211_STA_INFO_TID_STATS: // a list of traffic identifiers
		attributes(ad.Bytes(), func(_ uint16, tid *mdnetlink.AttributeDecoder) {
			attributes(tid.Bytes(), func(typ uint16, ad *mdnetlink.AttributeDecoder) {
				if typ == unix.NL80211_TID_STATS_TXQ_STATS {
					u.addQueue(ad.Bytes())
				}
			})
		})
	}
}

// addQueue adds a queue of a station, of which there is one for each traffic identifier.
func (u *stationUse) addQueue(b []byte) {
	if u.queue == nil {
		u.queue = &StationQueue{}
	}
	q := u.queue
	into := map[uint16]*uint64{
		unix.NL80211_TXQ_STATS_BACKLOG_BYTES: &q.Backlog, unix.NL80211_TXQ_STATS_DROPS: &q.Drops,
		unix.NL80211_TXQ_STATS_ECN_MARKS: &q.Marks, unix.NL80211_TXQ_STATS_TX_PACKETS: &q.Packets,
	}
	attributes(b, func(typ uint16, ad *mdnetlink.AttributeDecoder) {
		if n := into[typ]; n != nil {
			*n += uint64(ad.Uint32())
		}
	})
}

// microseconds is a time that the kernel counts in µs; one that cannot be is the longest.
func microseconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(1<<63-1)/1000)) * time.Microsecond
}

// airtime is that of a frequency; nil if it is not known.
func (k *kernel) airtime(link string, mhz int) *Airtime {
	l := k.links[link]
	if l == nil {
		return nil
	}
	list, _ := k.c.SurveyInfo(l) // not every driver has it
	for _, s := range list {
		if s.Frequency == mhz && s.InUse && s.ChannelTime > 0 {
			return &Airtime{Active: s.ChannelTime, Busy: s.ChannelTimeBusy, Receive: s.ChannelTimeRx, Send: s.ChannelTimeTx, Noise: s.Noise}
		}
	}
	return nil
}

// pendingAirtime is how much airtime what AQL has let through to a radio's device still takes. It is
// not known without debugfs, or without AQL in the driver.
func pendingAirtime(root, link string) (time.Duration, bool) {
	name, err := os.ReadFile(filepath.Join(root, "sys/class/net", link, "phy80211/name"))
	if err != nil {
		return 0, false
	}
	text, err := os.ReadFile(filepath.Join(root, "sys/kernel/debug/ieee80211", strings.TrimSpace(string(name)), "aql_pending"))
	if err != nil {
		return 0, false
	}
	return parsePending(string(text))
}

// parsePending reads aql_pending of mac80211: a line for each access category, and their sum.
func parsePending(text string) (time.Duration, bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "total" && f[2] == "us" {
			n, err := strconv.ParseUint(f[1], 10, 32)
			return microseconds(n), err == nil
		}
	}
	return 0, false
}
