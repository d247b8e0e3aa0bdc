// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// render is the configuration file of a radio.
func render(h *config.Hostapd, r *config.Radio, control, pass string) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Made by l2d from services.hostapd: changes here are undone.")
	line("interface=%s", r.Interface)
	line("driver=nl80211")
	if h.Bridge != "" {
		line("bridge=%s", h.Bridge)
	}
	line("ctrl_interface=%s", control)
	line("country_code=%s", h.Country)
	line("ieee80211d=1")
	line("ssid=%s", r.SSID)
	line("utf8_ssid=1")
	line("ignore_broadcast_ssid=%d", bit(r.Hidden))
	line("ap_isolate=%d", bit(r.Isolate))
	most := r.MaxStations
	if most == 0 {
		most = maxStations
	}
	line("max_num_sta=%d", most)
	radioLines(line, r)
	securityLines(line, r, pass)
	// Stations that roam ask which other radios there are, and are told where to go.
	line("rrm_neighbor_report=1")
	line("bss_transition=1")
	line("wmm_enabled=1")
	for _, ac := range config.AccessCategories {
		w := r.WMM[ac]
		line("wmm_ac_%s_aifs=%d", ac, w.AIFS)
		line("wmm_ac_%s_cwmin=%d", ac, w.CWMin)
		line("wmm_ac_%s_cwmax=%d", ac, w.CWMax)
		line("wmm_ac_%s_txop_limit=%d", ac, w.TXOPLimit)
		line("wmm_ac_%s_acm=%d", ac, bit(w.ACM))
	}
	return b.Bytes()
}

// Widths of channels as hostapd writes them: 20 and 40 MHz are one.
var chwidths = map[int]int{20: 0, 40: 0, 80: 1, 160: 2}

// Operating classes of 6 GHz by the width: IEEE 802.11, table E-4.
var classes6 = map[int]int{20: 131, 40: 132, 80: 133, 160: 134}

// radioLines are about the channel and the standards.
func radioLines(line func(string, ...any), r *config.Radio) {
	c := channelOf(r)
	newer := func(prefix string) {
		line("%s_oper_chwidth=%d", prefix, chwidths[c.Width])
		if c.Width > 40 {
			line("%s_oper_centr_freq_seg0_idx=%d", prefix, c.Center())
		}
	}
	mode := "a"
	if r.Band == Band2 {
		mode = "g"
	}
	line("hw_mode=%s", mode)
	line("channel=%d", c.Number)
	switch r.Band {
	case Band5:
		line("ieee80211h=1")
	case Band6:
		line("op_class=%d", classes6[c.Width])
	}
	if r.Band != Band6 {
		line("ieee80211n=1")
		capabilities := r.HTCapabilities
		if s := c.Secondary(); s != 0 {
			capabilities = append([]string{map[int]string{1: "HT40+", -1: "HT40-"}[s]}, capabilities...)
		}
		capabilityLine(line, "ht_capab", capabilities)
	}
	if r.Band == Band5 && r.Standard != "n" {
		line("ieee80211ac=1")
		newer("vht")
		capabilityLine(line, "vht_capab", r.VHTCapabilities)
	}
	if r.Standard == "ax" {
		line("ieee80211ax=1")
		// As far as the radio can do it.
		line("he_su_beamformer=1")
		line("he_su_beamformee=1")
		line("he_mu_beamformer=1")
		if r.Band == Band6 {
			line("he_oper_chwidth=%d", chwidths[c.Width])
			line("he_oper_centr_freq_seg0_idx=%d", c.Center())
		} else {
			newer("he")
		}
	}
}

func capabilityLine(line func(string, ...any), key string, words []string) {
	if len(words) > 0 {
		line("%s=[%s]", key, strings.Join(words, "]["))
	}
}

// securityLines are about who may come, and how.
func securityLines(line func(string, ...any), r *config.Radio, pass string) {
	line("wpa=2")
	line("rsn_pairwise=CCMP")
	line("sae_require_mfp=1")
	// Hash-to-element, and the older way for stations that do not have it; 6 GHz has none.
	pwe := 2
	if r.Band == Band6 {
		pwe = 1
	}
	line("sae_pwe=%d", pwe)
	line("sae_password=%s", pass)
	if r.Security == config.WPA3Transition {
		line("wpa_key_mgmt=SAE WPA-PSK")
		line("wpa_passphrase=%s", pass)
		line("ieee80211w=1")
		return
	}
	line("wpa_key_mgmt=SAE")
	line("ieee80211w=2")
	line("beacon_prot=1")
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
