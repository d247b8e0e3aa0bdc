// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"regexp"
	"strconv"
	"strings"
)

var commonPorts = []uint16{22, 53, 67, 80, 443, 547, 7, 9, 1024, 65535}

var (
	baseChain = regexp.MustCompile(`type (?:filter|route) hook (\w+) (?:devices? .*)?priority ([^;]+);`)
	// standard priorities as nft lists them.
	standard = map[string]int{"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
	// randomPorts finds NAT that leaves no port as it is.
	randomPorts = regexp.MustCompile(`(?:masquerade|snat) .*random`)
)

// portsShow tells whether chains of a ruleset see ports as NAT chose them:
// before the destination's translation, or after the source's.
func portsShow(ruleset string) bool {
	for _, m := range baseChain.FindAllStringSubmatch(ruleset, -1) {
		priority := priorityOf(m[2])
		switch m[1] {
		case "prerouting", "output":
			if priority <= standard["dstnat"] {
				return true
			}
		case "input", "postrouting":
			if priority >= standard["srcnat"] {
				return true
			}
		case "ingress", "egress":
			return true
		}
	}
	return false
}

// priorityOf reads a number, or a name and perhaps what is added to it.
func priorityOf(text string) int {
	sum, sign := 0, 1
	for _, word := range strings.Fields(text) {
		n, named := standard[word]
		if !named {
			n, _ = strconv.Atoi(word)
		}
		switch word {
		case "-":
			sign = -1
		default:
			sum += sign * n
		}
	}
	return sum
}

// Clients use few ports, so that flows collide.
var clientPorts = []uint16{1023, 1024, 600, 40000, 40001, 5353, 123, 50123, 61000, 33434}

// clientPort is the port of a client: one of few, so that flows collide, but where rules see what the routers choose then.
func (t *trial) clientPort() uint16 {
	switch {
	case t.portsShow:
		t.client++
		return 1024 + t.client%60000
	case t.IntN(4) == 0:
		return uint16(1024 + t.IntN(60000))
	}
	return choose(t, clientPorts)
}
