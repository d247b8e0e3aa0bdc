// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const leastHostapd = "services: {hostapd: {country: US, ssid: s, passphrase: /p, "

func TestHostapd(t *testing.T) {
	c, err := Parse("f", []byte(least+leastHostapd+`bridge: br0, io_class: realtime, nice: -10, mode: child, wmm: {be: {aifs: 1, cwmax: 4}}, radios: {
    wlan_2g: {channel: 6},
    wlan_5g: {channel: 36, ssid: other, passphrase: 'credential:wifi', wmm: {be: {txop_limit: 32}, vo: {acm: true}}},
    n: {channel: 44, standard: n, security: wpa3-transition, hidden: true, isolate: true, max_stations: 7}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	h := c.Services.Hostapd
	if h.Country != "US" || h.Bridge != "br0" || h.IOClass != "realtime" || *h.Nice != -10 || len(h.Radios) != 3 || h.ControlDir != "" {
		t.Errorf("%+v", h)
	}
	for i, want := range []string{
		"wlan_2g 2g 6 20 ax s /p wpa3 {1 4 4 0 false} {2 2 3 47 false}",
		"wlan_5g 5g 36 80 ax other credential:wifi wpa3 {1 4 4 32 false} {2 2 3 47 true}",
		"n 5g 44 40 n s /p wpa3-transition {1 4 4 0 false} {2 2 3 47 false}",
	} {
		r := &h.Radios[i]
		if got := fmt.Sprint(r.Interface, " ", r.Band, " ", r.Channel, " ", r.Width, " ", r.Standard, " ", r.SSID, " ", r.Passphrase, " ", r.Security, " ", r.WMM["be"], " ", r.WMM["vo"]); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	// What is not declared has no defaults that a radio has given itself.
	if b, err := json.Marshal(h.Radios[0]); err != nil || strings.Contains(string(b), "hidden") {
		t.Errorf("%s, %v", b, err)
	}
	c, err = Parse("f", []byte(least+"services: {hostapd: {mode: watch, radios: {wlan0: , wlan1: {channel: 1}}}}\n"))
	if err != nil || len(c.Services.Hostapd.Radios) != 2 || c.Services.Hostapd.ControlDir != DefaultControlDir {
		t.Errorf("somebody else's: %v", err)
	}
}

func TestHostapdRefused(t *testing.T) {
	for _, test := range []struct{ radio, want string }{
		{"", "f:7:11: services.hostapd.radios.w: has no value"},
		{"{}", "f:7:11: services.hostapd.radios.w.channel: is missing: want the number of a channel"},
		{"{channel: 0}", `services.hostapd.radios.w.channel: "0": want a whole number from 1 to 233`},
		{"{channel: 36, width: 60}", `"60": want 20, 40, 80 or 160`},
		{"{channel: 36, width: 80, standard: n}", "802.11n has no more than 40 MHz"},
		{"{channel: 6, standard: ac}", "802.11ac is for 5 GHz: want n or ax"},
		{"{channel: 5, band: 6g, security: wpa3-transition}", "6 GHz has nothing older than WPA3"},
		{"{channel: 5, band: 6g, standard: n}", "6 GHz has nothing older: want ax"},
		{"{channel: 5, ssid: " + strings.Repeat("x", 33) + "}", "want a name of 1 to 32 bytes"},
		{`{channel: 5, ssid: "a\nb"}`, "without control characters"},
		{"{channel: 5, passphrase: my secret words}", "services.hostapd.radios.w.passphrase: is not where a secret is"},
		{"{channel: 5, security: wep}", "want wpa3 or wpa3-transition"},
		{"{channel: 5, wmm: {be: {aifs: 0}}}", `radios.w.wmm.be.aifs: "0": want a whole number from 1 to 15`},
		{"{channel: 5, wmm: {be: {cwmin: 5, cwmax: 4}}}", "cwmin 5 is more than cwmax 4"},
		{"{channel: 5, wmm: {xx: {}}}", "unknown key: want one of be, bk, vi, vo"},
		{"{channel: 5, ht_capabilities: [HT40+]}", "want a word of hostapd"},
		{"{channel: 5, max_stations: 2008}", "from 1 to 2007"},
	} {
		_, err := Parse("f", []byte(least+strings.Replace(leastHostapd, "country: US, ssid: s, passphrase: /p, ", "country: US, ssid: s, passphrase: /p,\n radios: {w: "+test.radio+"}}}\n", 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "my secret words") {
			t.Errorf("%s: %v, not %s", test.radio, err, test.want)
		}
	}
	for text, want := range map[string]string{
		"{country: US}":             "services.hostapd.radios: is missing",
		"{country: us, radios: {}}": `"us": want two letters, such as US`,
		"{radios: {w: {channel: 1, ssid: a, passphrase: /p}}}":                               "services.hostapd.country: is missing",
		"{country: US, control_dir: /x, radios: {w: {channel: 1, ssid: a, passphrase: /p}}}": "control_dir: is l2d's own",
		"{country: US, radios: {Wlan-0: {channel: 1, ssid: a, passphrase: /p}}}":             "of lower-case letters",
		"{country: US, io_class: fast, radios: {}}":                                          "want realtime, best-effort or idle",
	} {
		if _, err := Parse("f", []byte(least+"services: {hostapd: "+text+"}\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %s", text, err, want)
		}
	}
}
