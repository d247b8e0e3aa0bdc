// SPDX-License-Identifier: GPL-2.0-only

package diff

import "regexp"

var commonPorts = []uint16{22, 53, 67, 80, 443, 547, 7, 9, 1024, 65535}

// early finds base chains that see source ports as NAT chose them: before the
// destination's translation, or after the source's.
var early = regexp.MustCompile(`hook prerouting|hook output priority (?:raw|-)|hook postrouting priority (?:1[0-9]{2}|srcnat \+)`)

// portsShow tells whether one of them is not that of a NAT table.
func portsShow(ruleset string) bool {
	for _, line := range regexp.MustCompile(`type filter [^;]*;`).FindAllString(ruleset, -1) {
		if early.MatchString(line) {
			return true
		}
	}
	return false
}

// Clients use few ports, so that flows collide.
var clientPorts = []uint16{1023, 1024, 600, 40000, 40001, 5353, 123, 50123, 61000, 33434}
