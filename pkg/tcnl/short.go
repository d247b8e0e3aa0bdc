// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// links are the words of tc-cake(8) for what is added to a packet on some links.
var links = map[string]map[string]string{
	"raw":             {"raw": "on", "overhead": "0", "atm": "noatm"},
	"conservative":    {"overhead": "48", "atm": "atm"},
	"ethernet":        {"overhead": "38", "mpu": "84", "atm": "noatm"},
	"ether-vlan":      {"overhead": "42", "mpu": "84", "atm": "noatm"},
	"docsis":          {"overhead": "18", "mpu": "64", "atm": "noatm"},
	"pppoe-ptm":       {"overhead": "30", "atm": "ptm"},
	"bridged-ptm":     {"overhead": "22", "atm": "ptm"},
	"ipoa-vcmux":      {"overhead": "8", "atm": "atm"},
	"ipoa-llcsnap":    {"overhead": "16", "atm": "atm"},
	"bridged-vcmux":   {"overhead": "24", "atm": "atm"},
	"bridged-llcsnap": {"overhead": "32", "atm": "atm"},
	"pppoa-vcmux":     {"overhead": "10", "atm": "atm"},
	"pppoa-llc":       {"overhead": "14", "atm": "atm"},
	"pppoe-vcmux":     {"overhead": "32", "atm": "atm"},
	"pppoe-llcsnap":   {"overhead": "40", "atm": "atm"},
}

// distances are its words for how far away the other ends are.
var distances = map[string]string{
	"datacentre": "100us", "lan": "1ms", "metro": "10ms", "regional": "30ms", "internet": "100ms", "oceanic": "300ms", "satellite": "1s", "interplanetary": "1000s",
}

// Shorts are words in the place of several options of a kind.
func (k *Kind) Shorts() []string {
	switch k.Name {
	case "cake", "cake_mq":
		return []string{"link"}
	case "dualpi2":
		return []string{"max_rtt", "typical_rtt"}
	}
	return nil
}

// IsShort tells whether a key with a value is such a word, or has one for a value.
func (k *Kind) IsShort(key, value string) bool {
	if slices.Contains(k.Shorts(), key) {
		return true
	}
	_, word := distances[value]
	return word && key == "rtt" && k.Option("rtt") != nil
}

// Long are the options that words stand for. If one is wrong, it is named, with what
// would be accepted.
func (k *Kind) Long(short map[string]string) (options map[string]string, wrong, want string) {
	options = map[string]string{}
	for key, value := range short {
		switch key {
		case "link":
			if links[value] == nil {
				return nil, key, "one of " + strings.Join(slices.Sorted(maps.Keys(links)), ", ")
			}
			maps.Copy(options, links[value])
		case "rtt":
			options[key], _ = k.Option(key).Parse(distances[value])
		}
	}
	if len(short) > 0 && k.Name == "dualpi2" {
		return dualpi2RTT(short)
	}
	return options, "", ""
}

// CakeTarget is the target that goes with a round-trip time, as tc(8) has it.
func CakeTarget(rtt string) string {
	us, _ := micros.parse(rtt)
	return micros.format(max(us/20, 1))
}

// typicalToMax is how much longer than the typical round-trip time the longest one
// is, if that is not said.
const typicalToMax = 6

// dualpi2RTT are the parameters for round-trip times: RFC 9332, appendix A.1.
func dualpi2RTT(short map[string]string) (options map[string]string, wrong, want string) {
	times := map[string]int64{}
	for key, value := range short {
		us, ok := micros.parse(value)
		if !ok || us < 1 || us > 1e8 {
			return nil, key, "a time from 1us to 1m40s"
		}
		times[key] = us
	}
	longest, typical := times["max_rtt"], times["typical_rtt"]
	switch {
	case typical == 0:
		typical = max(longest/typicalToMax, 1)
	case longest == 0:
		longest = typical * typicalToMax
	case typical > longest:
		return nil, "typical_rtt", "at most max_rtt, " + micros.format(longest)
	}
	update := max(min(typical, longest/3), 1)
	const second = 1e6
	alpha := 0.1 * float64(update) / float64(longest) / float64(longest) * second
	beta := 0.3 / float64(longest) * second
	options = map[string]string{"target": micros.format(typical), "tupdate": micros.format(update)}
	for name, hertz := range map[string]float64{"alpha": alpha, "beta": beta} {
		text, ok := gain().parse(strconv.FormatFloat(hertz, 'f', -1, 64))
		if !ok {
			key := "max_rtt"
			if short[key] == "" {
				key = "typical_rtt"
			}
			return nil, key, "a time that " + name + " can be computed from: " + text + " Hz is out of its range"
		}
		options[name] = text
	}
	return options, "", ""
}
