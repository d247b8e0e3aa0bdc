// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// Status is what hostapd says of an interface.
type Status struct {
	// State is ENABLED when stations can come; before that, COUNTRY_UPDATE, HT_SCAN, DFS
	// and others.
	State string
	// Frequency in MHz and the number of the primary channel; 0 is not known.
	Frequency, Channel int
	// Secondary is as [Channel.Secondary]. Center is the number of the middle channel with
	// more than 40 MHz, else 0.
	Secondary, Center int
	// Stations is how many are associated.
	Stations int
	SSID     string
	// Interface is that of the first network.
	Interface string
}

// StateEnabled is the state of an access point that works.
const StateEnabled = "ENABLED"

// on tells whether a radio is on a channel, as far as hostapd says it.
func (s *Status) on(c Channel) bool {
	if s.Channel != c.Number {
		return false
	}
	return c.Width <= 40 && s.Secondary == c.Secondary() || c.Width > 40 && (s.Center == 0 || s.Center == c.Center())
}

// fields calls yield with each key=value line.
func fields(text string, yield func(key, value string)) {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			yield(key, value)
		}
	}
}

// number is a whole number from 0 on; what is none is 0.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// small is a number that fits into an int.
func small(s string) int {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// ParseStatus reads an answer to STATUS. What is not there stays zero.
func ParseStatus(text string) (s Status) {
	fields(text, func(key, value string) {
		switch key {
		case "state":
			s.State = value
		case "freq":
			s.Frequency = max(small(value), 0)
		case "channel":
			s.Channel = max(small(value), 0)
		case "secondary_channel":
			s.Secondary = small(value)
		case "vht_oper_centr_freq_seg0_idx", "he_oper_centr_freq_seg0_idx":
			s.Center = max(s.Center, small(value))
		case "num_sta[0]":
			s.Stations = max(small(value), 0)
		case "ssid[0]":
			s.SSID = value
		case "bss[0]":
			s.Interface = value
		}
	})
	return s
}

// Station is what hostapd knows of one.
type Station struct {
	// MAC is the address of the station, in lower case.
	MAC string
	// Flags are AUTH, ASSOC, AUTHORIZED, MFP and others.
	Flags []string
	// AKM is how it has authenticated: 00-0f-ac-8 is SAE.
	AKM string
	// Connected is how long it has been associated, Inactive since when nothing was heard.
	Connected, Inactive time.Duration
	// Received and Sent are bytes from and to the station.
	Received, Sent uint64
	// Signal of what it sends, in dBm; 0 is not known.
	Signal int
}

// ParseStation reads an answer to STA, STA-FIRST or STA-NEXT. It is false if there is no station
// in it.
func ParseStation(text string) (s Station, ok bool) {
	first, rest, _ := strings.Cut(text, "\n")
	mac, err := net.ParseMAC(strings.TrimSpace(first))
	if err != nil || len(mac) != 6 {
		return s, false
	}
	s.MAC = mac.String()
	fields(rest, func(key, value string) {
		switch key {
		case "flags":
			s.Flags = strings.FieldsFunc(value, func(r rune) bool { return r == '[' || r == ']' })
		case "AKMSuiteSelector":
			s.AKM = value
		case "connected_time":
			s.Connected = time.Duration(min(number(value), 1<<31)) * time.Second
		case "inactive_msec":
			s.Inactive = time.Duration(min(number(value), 1<<31)) * time.Millisecond
		case "rx_bytes":
			s.Received = number(value)
		case "tx_bytes":
			s.Sent = number(value)
		case "signal":
			s.Signal = small(value)
		}
	})
	return s, true
}

// akms are the suites of IEEE 802.11 by hostapd's way to write them, of those that are in use.
var akms = map[string]string{
	"00-0f-ac-1": "802.1X", "00-0f-ac-2": "PSK", "00-0f-ac-3": "FT-802.1X", "00-0f-ac-4": "FT-PSK", "00-0f-ac-5": "802.1X-SHA256",
	"00-0f-ac-6": "PSK-SHA256", "00-0f-ac-8": "SAE", "00-0f-ac-9": "FT-SAE", "00-0f-ac-18": "OWE", "00-0f-ac-24": "SAE-EXT-KEY", "00-0f-ac-25": "FT-SAE-EXT-KEY",
}

// Security is how the station has authenticated, for people.
func (s *Station) Security() string {
	if name := akms[strings.ToLower(s.AKM)]; name != "" {
		return name
	}
	return s.AKM
}
