// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/hex"
	"fmt"
	"net"
	"strings"
)

// A replay file has the packets of a run, one line each:
//
//	INTERFACE [to=MAC] HEX [HEX ...] [l2d HEX [HEX ...]]
//
// INTERFACE is where the packet, from its IP header on, arrives, or "router" if
// the router sends it; several are the fragments of one. After the word l2d
// stands what l2d's router gets, where that differs: a port that it chose. A line
// "pause" lets flows expire. A line "settings" has those of connection tracking that are
// not the usual ones, as JSON. A line
//
//	move ADDRESS INTERFACE
//
// has packets to a host go by another interface from then on, or as at the beginning: "back".

const (
	fromRouter = "router"
	pauseWord  = "pause"
)

// line is a shot as a line of a replay file.
func (r *Rig) line(s shot) string {
	if s.pause {
		return pauseWord
	}
	if s.move != nil {
		return r.moveLine(s.move)
	}
	words := []string{fromRouter}
	if s.port >= 0 {
		words[0] = r.ports[s.port].name
	}
	if s.to != nil {
		words = append(words, "to="+net.HardwareAddr(s.to).String())
	}
	same := true
	for i, ip := range s.ip[0] {
		words = append(words, hex.EncodeToString(ip))
		same = same && string(ip) == string(s.ip[1][i])
	}
	if !same {
		words = append(words, "l2d")
		for _, ip := range s.ip[1] {
			words = append(words, hex.EncodeToString(ip))
		}
	}
	return strings.Join(words, " ")
}

// parseReplay reads a replay file.
func (r *Rig) parseReplay(text string) (list []shot, given *ctSettings, err error) {
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == settingsWord {
			given, err = parseSettings(strings.Join(words[1:], " "))
		} else {
			var s shot
			s, err = r.parseShot(words)
			list = append(list, s)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return list, given, nil
}

func (r *Rig) parseShot(words []string) (s shot, err error) {
	if words[0] == pauseWord && len(words) == 1 {
		return shot{pause: true}, nil
	}
	if words[0] == moveWord {
		s.move, err = r.parseMove(words[1:])
		return s, err
	}
	s.port = -2
	if words[0] == fromRouter {
		s.port = -1
	}
	for i, p := range r.ports {
		if p.name == words[0] {
			s.port = i
		}
	}
	if s.port == -2 {
		return s, fmt.Errorf("no interface %q", words[0])
	}
	words = words[1:]
	if len(words) > 0 && strings.HasPrefix(words[0], "to=") {
		if s.to, err = net.ParseMAC(words[0][3:]); err != nil {
			return s, err
		}
		words = words[1:]
	}
	at := 0
	for _, w := range words {
		if w == "l2d" {
			at = 1
			continue
		}
		b, err := hex.DecodeString(w)
		if err != nil {
			return s, err
		}
		if len(b) < 20 {
			return s, fmt.Errorf("a packet of %d bytes", len(b))
		}
		s.ip[at] = append(s.ip[at], b)
	}
	if len(s.ip[1]) == 0 {
		s.ip[1] = s.ip[0]
	}
	if len(s.ip[0]) == 0 || len(s.ip[0]) != len(s.ip[1]) {
		return s, fmt.Errorf("%d packets for nftables, %d for l2d", len(s.ip[0]), len(s.ip[1]))
	}
	return s, nil
}
