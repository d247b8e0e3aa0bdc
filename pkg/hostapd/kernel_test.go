// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// stationMessage is what the kernel tells of a station with two traffic identifiers.
func stationMessage(t testing.TB) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.NL80211_ATTR_IFINDEX, 7)
	ae.Bytes(unix.NL80211_ATTR_MAC, []byte{2, 0, 0, 0, 0, 1})
	ae.Nested(unix.NL80211_ATTR_STA_INFO, func(ae *netlink.AttributeEncoder) error {
		ae.Uint64(unix.NL80211_STA_INFO_RX_DURATION, 1500)
		ae.Uint64(unix.NL80211_STA_INFO_TX_DURATION, 2_000_000)
		ae.Nested(unix.NL80211_STA_INFO_TID_STATS, func(ae *netlink.AttributeEncoder) error {
			for tid := range uint16(2) {
				ae.Nested(tid+1, func(ae *netlink.AttributeEncoder) error {
					ae.Uint64(unix.NL80211_TID_STATS_RX_MSDU, 99)
					ae.Nested(unix.NL80211_TID_STATS_TXQ_STATS, func(ae *netlink.AttributeEncoder) error {
						for typ, n := range map[uint16]uint32{
							unix.NL80211_TXQ_STATS_BACKLOG_BYTES: 1000, unix.NL80211_TXQ_STATS_DROPS: 3, unix.NL80211_TXQ_STATS_ECN_MARKS: 5,
							unix.NL80211_TXQ_STATS_TX_PACKETS: 70, unix.NL80211_TXQ_STATS_OVERLIMIT: 9,
						} {
							ae.Uint32(typ, n)
						}
						return nil
					})
					return nil
				})
			}
			return nil
		})
		return nil
	})
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStationUse(t *testing.T) {
	want := stationUse{1500 * time.Microsecond, 2 * time.Second, &StationQueue{Backlog: 2000, Packets: 140, Drops: 6, Marks: 10}}
	if got := parseUse(stationMessage(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, queue %+v", got, got.queue)
	}
	if got := parseUse(nil); !reflect.DeepEqual(got, stationUse{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// FuzzStationUse: whatever a driver tells is read, or left out.
func FuzzStationUse(f *testing.F) {
	b := stationMessage(f)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		if u := parseUse(b); u.receive < 0 || u.send < 0 {
			t.Errorf("%+v", u)
		}
	})
}

func TestPendingAirtime(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"sys/class/net/wlan0/phy80211/name":           "phy3\n",
		"sys/class/net/wlan1/phy80211/name":           "phy4\n",
		"sys/kernel/debug/ieee80211/phy3/aql_pending": "AC     AQL pending\nVO     0 us\nVI     100 us\nBE     3900 us\nBK     0 us\ntotal  4000 us\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d, ok := pendingAirtime(root, "wlan0"); !ok || d != 4*time.Millisecond {
		t.Errorf("%v, %t", d, ok)
	}
	for _, link := range []string{"wlan1", "eth0"} { // without debugfs, and no radio
		if d, ok := pendingAirtime(root, link); ok {
			t.Errorf("%s: %v", link, d)
		}
	}
	if _, ok := parsePending("total  many us\n"); ok {
		t.Error("many is a number")
	}
}
