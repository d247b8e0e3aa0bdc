// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdlayher/wifi"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

const pass = "correct horse"

const head = `dataplane: {ruleset: x, interfaces: [{name: br0}]}
services:
  hostapd:
    country: US
    ssid: home net
    passphrase: %s
    bridge: br0
    wmm: { be: { aifs: 1, cwmin: 4, cwmax: 4, txop_limit: 32, acm: false } }
`

// parse reads the section with some radios.
func parse(t *testing.T, secret, radios string) *config.Config {
	t.Helper()
	c, err := config.Parse("l2d.yaml", fmt.Appendf(nil, head+"    radios:\n%s", secret, radios))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// units are those of a configuration with a passphrase that is there.
func units(t *testing.T, radios string) []*service.Unit {
	t.Helper()
	secret := file(t, t.TempDir(), "pass", pass+"\n")
	list, err := New().Units(parse(t, secret, radios), service.Dirs{Run: "/run/x"})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// radiosOf all kinds, each of which hostapd has to accept.
const radiosOf = `      wlan_2g: { channel: 6 }
      wlan_5g: { channel: 36 }
      old: { channel: 11, width: 40, standard: n, security: wpa3-transition, ht_capabilities: [SHORT-GI-20, SHORT-GI-40] }
      ac: { channel: 149, standard: ac, vht_capabilities: [SHORT-GI-80], hidden: true, isolate: true, max_stations: 9 }
      wide: { channel: 100, width: 160, ssid: Ünïcode }
      six: { band: 6g, channel: 37, width: 160 }
`

// TestFiles: hostapd's own parser accepts what is written, and says what is wrong where somebody has made
// a mistake in it.
func TestFiles(t *testing.T) {
	program, err := exec.LookPath("hostapd")
	if err != nil {
		t.Skip("hostapd is not installed: scripts/setup.sh test")
	}
	ns(t)
	list := units(t, radiosOf)
	if len(list) != 6 {
		t.Fatalf("%d units", len(list))
	}
	check := func(u *service.Unit, change func(string) string) error {
		return checkFile(t.Context(), program, file(t, t.TempDir(), "conf", change(string(u.Files[0].Content))))
	}
	for _, u := range list {
		if err := check(u, func(s string) string { return s }); err != nil {
			t.Errorf("%s: %v\n%s", u.Name, err, u.Files[0].Content)
		}
	}
	for from, to := range map[string]string{"sae_pwe": "sae_pew", "wmm_ac_be_aifs=1": "wmm_ac_be_aifs=0", "hw_mode=g": "hw_mode=z", "rsn_pairwise=CCMP": "rsn_pairwise=ROT13"} {
		err := check(list[0], func(s string) string { return strings.Replace(s, from, to, 1) })
		if err == nil || !strings.Contains(err.Error(), "Line ") && !strings.Contains(err.Error(), "errors found") {
			t.Errorf("%s: %v", to, err)
		}
	}
	left, err := filepath.Glob("/tmp/*/conf.check")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRendered: the values of the file, line by line where they matter.
func TestRendered(t *testing.T) {
	list := units(t, radiosOf)
	for i, lines := range [][]string{
		{"hw_mode=g", "channel=6", "ieee80211n=1", "ieee80211ax=1", "he_oper_chwidth=0", "wpa_key_mgmt=SAE", "ieee80211w=2", "sae_pwe=2", "sae_password=correct horse", "bridge=br0",
			"ssid=home net", "wmm_ac_be_aifs=1", "wmm_ac_be_cwmin=4", "wmm_ac_be_cwmax=4", "wmm_ac_be_txop_limit=32", "wmm_ac_be_acm=0", "wmm_ac_vo_txop_limit=47", "country_code=US"},
		{"hw_mode=a", "channel=36", "ht_capab=[HT40+]", "ieee80211ac=1", "vht_oper_chwidth=1", "vht_oper_centr_freq_seg0_idx=42", "he_oper_centr_freq_seg0_idx=42", "ieee80211h=1"},
		{"ht_capab=[HT40-][SHORT-GI-20][SHORT-GI-40]", "wpa_key_mgmt=SAE WPA-PSK", "wpa_passphrase=correct horse", "ieee80211w=1"},
		{"vht_capab=[SHORT-GI-80]", "ignore_broadcast_ssid=1", "ap_isolate=1", "max_num_sta=9"},
		{"ssid=Ünïcode", "vht_oper_chwidth=2", "vht_oper_centr_freq_seg0_idx=114"},
		{"op_class=134", "sae_pwe=1", "he_oper_centr_freq_seg0_idx=47"},
	} {
		text := "\n" + string(list[i].Files[0].Content)
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s: no %s in %s", list[i].Name, line, text)
			}
		}
		if f := list[i].Files[0]; f.Mode != 0o600 || len(f.Secrets) != 1 || f.Secrets[0] != pass {
			t.Errorf("%s: mode %o, secrets %v", list[i].Name, f.Mode, f.Secrets)
		}
		if argv := strings.Join(list[i].Argv, " "); strings.Contains(argv, pass) {
			t.Errorf("the passphrase is in the command line: %s", argv)
		}
	}
	for _, line := range []string{"ieee80211ax", "ieee80211ac", "beacon_prot"} {
		if text := string(list[2].Files[0].Content); strings.Contains(text, line) {
			t.Errorf("%s in %s", line, text)
		}
	}
}

// TestSecrets: a passphrase that is none, or that others can read, is refused without being said.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"short": "5 bytes: want 8 to 63", strings.Repeat("x", 64): "64 bytes", "grüezi mitenand": "other characters than ASCII", "with|mac=x and so on": "takes for an option", "two\nlines of it": "more than one line",
	} {
		_, err := New().Units(parse(t, file(t, dir, "pass", text), "      w: { channel: 6 }\n"), service.Dirs{Run: "/run/x"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), text) || !strings.HasPrefix(err.Error(), "l2d.yaml:6:17: services.hostapd.passphrase") {
			t.Errorf("%q: %v", text, err)
		}
	}
	path := file(t, dir, "pass", pass)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New().Units(parse(t, path, "      w: { channel: 6 }\n"), service.Dirs{Run: "/run/x"}); err == nil || !strings.Contains(err.Error(), "has mode 0644") {
		t.Error(err)
	}
	_, err := New().Units(parse(t, file(t, dir, "good", pass), "      a: { channel: 38 }\n      b: { channel: 132, width: 160 }\n"), service.Dirs{Run: "/run/x"})
	for _, want := range []string{`l2d.yaml:10:7: services.hostapd.radios.a.channel: "38 with 80 MHz": is no channel of 5 GHz`, `l2d.yaml:11:7: services.hostapd.radios.b.channel: "132 with 160 MHz": there are no 160 MHz around it`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}

// TestEffects: what a change does to stations.
func TestEffects(t *testing.T) {
	const plain = "      w: { channel: 36 }\n"
	of := func(radios, pass string) *service.Unit {
		list, err := New().Units(parse(t, file(t, t.TempDir(), "pass", pass), radios), service.Dirs{Run: "/run/x"})
		if err != nil {
			t.Fatal(err)
		}
		return list[0]
	}
	old := of(plain, pass)
	for radios, want := range map[string]string{
		"      w: { channel: 36, wmm: { vo: { aifs: 3 } }, max_stations: 7 }\n": "{Action:1 Disruptive:false Why:}",
		"      w: { channel: 44 }\n":                                                "{Action:1 Disruptive:false Why:its stations move along to channel 44}",
		"      w: { channel: 48, max_stations: 7 }\n":                               "{Action:1 Disruptive:false Why:its stations move along to channel 48}",
		"      w: { channel: 52 }\n":                                                "{Action:2 Disruptive:true Why:its stations drop: the radio listens for radar on the new channel, for a minute or longer, before it sends}",
		"      w: { channel: 36, width: 40 }\n":                                     "{Action:2 Disruptive:true Why:its stations drop, and come back: he_oper_chwidth, vht_oper_chwidth cannot change in place}",
		"      w: { channel: 6 }\n":                                                 "cannot change in place}",
		"      w: { channel: 36, ssid: other, hidden: true }\n":                     "{Action:2 Disruptive:true Why:its stations drop: the network has another name}",
		"      w: { channel: 36, security: wpa3-transition }\n":                     "need the new passphrase}",
		"      w: { channel: 36, isolate: true, ht_capabilities: [SHORT-GI-20] }\n": "its stations drop, and come back: ap_isolate, ht_capab cannot change in place}",
	} {
		if got := fmt.Sprintf("%+v", New().Effect(old, of(radios, pass))); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, not %s", strings.TrimSpace(radios), got, want)
		}
	}
	if got := fmt.Sprintf("%+v", New().Effect(old, of(plain, "another one"))); !strings.Contains(got, "need the new passphrase") {
		t.Error(got)
	}
}

// TestWhy: of what hostapd 2.10 says when it cannot go on, that which says why.
func TestWhy(t *testing.T) {
	after := []string{"w: interface state UNINITIALIZED->DISABLED", "w: AP-DISABLED ", "w: CTRL-EVENT-TERMINATING ", "hostapd_free_hapd_data: Interface w wasn't started"}
	taken := append([]string{"nl80211: kernel reports: Match already configured", "nl80211: Could not configure driver mode", "nl80211: deinit ifname=w disabled_11b_rates=0", "nl80211 driver initialization failed."}, after...)
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{append(taken, taken...), "nl80211: kernel reports: Match already configured; nl80211: Could not configure driver mode; nl80211 driver initialization failed."},
		{append([]string{"a", "b", "c", "d", "w: Unable to setup interface."}, after...), "b; c; d"},
		{after, ""},
		{nil, ""},
	} {
		if got := New().Why(nil, c.lines); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// TestPHY: what a radio and its country do not have is refused as soon as the kernel knows the country.
func TestPHY(t *testing.T) {
	phy := &wifi.PHY{
		SupportedIftypes: []wifi.InterfaceType{wifi.InterfaceTypeStation, wifi.InterfaceTypeAP},
		BandAttributes: []wifi.BandAttributes{{FrequencyAttributes: []wifi.FrequencyAttrs{
			{Frequency: 2437}, {Frequency: 2472, Disabled: true}, {Frequency: 5260, NoIR: true, RadarDetection: true}, {Frequency: 5180, NoIR: true},
		}}},
	}
	for _, c := range []struct {
		to     Channel
		region string
		want   string
	}{
		{Channel{Band2, 6, 20}, "US", ""},
		{Channel{Band2, 13, 20}, "US", "w: channel 13 is not allowed in US"},
		{Channel{Band2, 13, 20}, "00", ""},
		{Channel{Band5, 36, 20}, "US", "w: no access point may be on channel 36 in US"},
		{Channel{Band5, 52, 20}, "US", ""},
		{Channel{Band5, 149, 20}, "00", "w: its radio has no channel 149 of 5 GHz"},
	} {
		got := ""
		if err := checkPHY(phy, "w", c.to, "US", c.region); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, not %q", c.to, got, c.want)
		}
	}
	phy.SupportedIftypes = phy.SupportedIftypes[:1]
	if err := checkPHY(phy, "w", Channel{Band2, 6, 20}, "US", "US"); err == nil {
		t.Error("a station is an access point")
	}
}
