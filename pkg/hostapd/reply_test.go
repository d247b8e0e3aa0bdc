// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// staReply is an answer of hostapd 2.10 for a station of mac80211_hwsim.
const staReply = `02:00:00:00:02:00
flags=[AUTH][ASSOC][AUTHORIZED][SHORT_PREAMBLE][WMM][MFP][HT][HE]
aid=1
capability=0x411
listen_interval=5
supported_rates=02 04 0b 16 0c 12 18 24 30 48 60 6c
timeout_next=NULLFUNC POLL
dot11RSNAStatsSTAAddress=02:00:00:00:02:00
AKMSuiteSelector=00-0f-ac-8
hostapdWPAPTKState=11
rx_packets=34
tx_packets=17
rx_bytes=4051
tx_bytes=2291
inactive_msec=84
signal=-30
rx_rate_info=60
tx_rate_info=3900 mcs 6 vhtnss 1
connected_time=75
`

var replies = []string{
	staReply,
	"state=ENABLED\nphy=phy0\nfreq=5180\nchannel=36\nsecondary_channel=1\nbss[0]=wlan_5g\nbssid[0]=02:00:00:00:01:00\nssid[0]=a=b c\nnum_sta[0]=2\n",
	"FAIL\n", "", "\n", "OK\n", "=\n==\nnum_sta[0]=-1\nchannel=99999999999999999999\n", "02:00:00:00:02:00", "zz:00\nflags=[\n", "02:00:00:00:02:00\nflags=]][[A\nsignal=-\n",
}

func TestParseReplies(t *testing.T) {
	s, ok := ParseStation(staReply)
	if got := fmt.Sprintf("%v %+v %s", ok, s, s.Security()); got != "true {MAC:02:00:00:00:02:00 Flags:[AUTH ASSOC AUTHORIZED SHORT_PREAMBLE WMM MFP HT HE] "+
		"AKM:00-0f-ac-8 Connected:1m15s Inactive:84ms Received:4051 Sent:2291 Signal:-30} SAE" {
		t.Error(got)
	}
	if got := fmt.Sprintf("%+v", ParseStatus(replies[1])); got != "{State:ENABLED Frequency:5180 Channel:36 Secondary:1 Center:0 Stations:2 SSID:a=b c Interface:wlan_5g}" {
		t.Error(got)
	}
	for _, none := range []string{"", "FAIL\n", "UNKNOWN COMMAND\n", "OK\n"} {
		if _, ok := ParseStation(none); ok {
			t.Errorf("%q is a station", none)
		}
	}
}

// FuzzReplies: whatever hostapd answers, what is read of it is within its bounds.
func FuzzReplies(f *testing.F) {
	for _, s := range replies {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := ParseStation(text)
		if mac, err := net.ParseMAC(s.MAC); ok && (err != nil || mac.String() != s.MAC) {
			t.Errorf("address %q", s.MAC)
		}
		if s.Connected < 0 || s.Inactive < 0 {
			t.Errorf("%+v", s)
		}
		if st := ParseStatus(text); st.Stations < 0 || st.Channel < 0 || st.Frequency < 0 {
			t.Errorf("%+v", st)
		}
	})
}

var eventTexts = []string{
	"<3>AP-STA-CONNECTED 02:00:00:00:02:00", "<3>AP-STA-DISCONNECTED 02:00:00:00:02:00", "<3>AP-ENABLED ", "<3>AP-CSA-FINISHED freq=2412 dfs=0",
	"<3>IFNAME=wlan0 AP-STA-CONNECTED 02:00:00:00:02:00 auth_alg=sae", "<2>CTRL-EVENT-TERMINATING ", "PONG\n", "OK\n", "<>", "<3>", "<x>A", "<3> A", "state=ENABLED\nx>y",
}

func TestParseEvents(t *testing.T) {
	want := []string{
		"AP-STA-CONNECTED|02:00:00:00:02:00|", "AP-STA-DISCONNECTED|02:00:00:00:02:00|", "AP-ENABLED||", "AP-CSA-FINISHED||freq=2412 dfs=0",
		"AP-STA-CONNECTED|02:00:00:00:02:00|auth_alg=sae", "CTRL-EVENT-TERMINATING||",
	}
	for i, text := range eventTexts {
		got := ""
		if e, ok := ParseEvent(text); ok {
			got = e.Name + "|" + e.MAC + "|" + e.Detail
		}
		if i < len(want) && got != want[i] || i >= len(want) && got != "" {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzEvents: what is no event is none, and a name has neither spaces nor is it empty.
func FuzzEvents(f *testing.F) {
	for _, s := range eventTexts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := ParseEvent(text)
		if ok && (e.Name == "" || strings.Contains(e.Name, " ") || !strings.HasPrefix(text, "<")) {
			t.Errorf("%q: %+v", text, e)
		}
	})
}

func TestChannels(t *testing.T) {
	for _, c := range []struct {
		c                            Channel
		frequency, center, secondary int
		problem                      bool
	}{
		{Channel{Band2, 6, 20}, 2437, 6, 0, false},
		{Channel{Band2, 6, 40}, 2437, 8, 1, false},
		{Channel{Band2, 11, 40}, 2462, 9, -1, false},
		{Channel{Band2, 14, 20}, 2484, 14, 0, false},
		{Channel{Band2, 6, 80}, 2437, 0, 0, true},
		{Channel{Band5, 36, 40}, 5180, 38, 1, false},
		{Channel{Band5, 40, 40}, 5200, 38, -1, false},
		{Channel{Band5, 36, 80}, 5180, 42, 1, false},
		{Channel{Band5, 48, 80}, 5240, 42, -1, false},
		{Channel{Band5, 64, 160}, 5320, 50, -1, false},
		{Channel{Band5, 100, 160}, 5500, 114, 1, false},
		{Channel{Band5, 144, 80}, 5720, 138, -1, false},
		{Channel{Band5, 149, 80}, 5745, 155, 1, false},
		{Channel{Band5, 161, 40}, 5805, 159, -1, false},
		{Channel{Band5, 165, 20}, 5825, 165, 0, false},
		{Channel{Band5, 173, 160}, 5865, 163, 1, false},
		{Channel{Band5, 132, 160}, 5660, 0, 0, true},
		{Channel{Band5, 38, 20}, 5190, 0, 0, true},
		{Channel{Band5, 72, 20}, 5360, 0, 0, true},
		{Channel{Band6, 5, 160}, 5975, 15, -1, false},
		{Channel{Band6, 37, 80}, 6135, 39, -1, false},
		{Channel{Band6, 229, 40}, 7095, 227, -1, false},
		{Channel{Band6, 225, 80}, 7075, 0, 0, true},
		{Channel{Band6, 233, 40}, 7115, 0, 0, true},
	} {
		problem, want := c.c.Problem()
		if f := c.c.Frequency(); f != c.frequency || (problem != "") != c.problem || c.problem != (want != "") {
			t.Errorf("%+v: %d MHz, problem %q", c.c, f, problem)
		}
		if !c.problem && (c.c.Center() != c.center || c.c.Secondary() != c.secondary) {
			t.Errorf("%+v: centre %d, secondary %d", c.c, c.c.Center(), c.c.Secondary())
		}
	}
}
