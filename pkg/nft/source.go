// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"slices"
	"strings"
)

// sourceChain names a chain of a file.
type sourceChain struct {
	family       Family
	table, chain string
}

// statement is what stands between line ends or semicolons.
type statement struct {
	text string
	line int
}

// parseSource finds the rules of each chain in a ruleset file. It returns nil
// when the file does more than define tables.
func parseSource(text string) map[sourceChain][]statement {
	p := &sourceParser{text: text, line: 1, chains: make(map[sourceChain][]statement)}
	for {
		s, block, ok := p.next()
		if !ok {
			break
		}
		words := strings.Fields(s.text)
		switch {
		case len(words) == 0:
		case words[0] == "table" && block:
			p.table(words[1:])
		case words[0] == "table", slices.Contains([]string{"define", "redefine", "undefine"}, words[0]):
		case slices.Contains([]string{"delete", "destroy", "flush"}, words[0]) && len(p.chains) == 0:
		default:
			return nil
		}
		if p.doubt {
			return nil
		}
	}
	return p.chains
}

type sourceParser struct {
	text   string
	at     int
	line   int
	chains map[sourceChain][]statement
	doubt  bool
	closed bool // next() ended at a closing brace

	inString bool
}

// table parses a table's block.
func (p *sourceParser) table(words []string) {
	family := FamilyIPv4
	if len(words) == 2 {
		f, err := ParseFamily(words[0])
		if err != nil {
			p.doubt = true
			return
		}
		family, words = f, words[1:]
	}
	if len(words) != 1 {
		p.doubt = true
		return
	}
	for !p.doubt {
		s, block, ok := p.next()
		w := strings.Fields(s.text)
		switch {
		case len(w) == 0:
		case w[0] == "include":
			p.doubt = true
		case block && w[0] == "chain" && len(w) == 2:
			p.chain(sourceChain{family, words[0], w[1]})
			continue
		case block:
			p.skip()
			continue
		}
		if !ok || p.closed {
			return
		}
	}
}

// chain parses a chain's block.
func (p *sourceParser) chain(c sourceChain) {
	for {
		s, _, ok := p.next()
		if w := strings.Fields(s.text); len(w) > 0 {
			switch w[0] {
			case "include":
				p.doubt = true
			case "type", "policy", "comment", "flags", "device", "devices", "define", "redefine", "undefine":
			default:
				p.chains[c] = append(p.chains[c], s)
			}
		}
		if !ok || p.closed {
			return
		}
	}
}

// skip leaves a block whose opening brace was read.
func (p *sourceParser) skip() {
	for depth := 1; depth > 0; {
		switch c, _ := p.char(); c {
		case 0:
			p.doubt = true
			return
		case '{':
			depth++
		case '}':
			depth--
		}
	}
}

// next reads a statement. block tells that it ended with the brace that opens
// a block, p.closed that it ended with one that closes the block around it.
// Braces elsewhere belong to the statement. ok is false at the end.
func (p *sourceParser) next() (s statement, block, ok bool) {
	p.closed = false
	var b strings.Builder
	depth := 0
	for {
		line := p.line
		c, quoted := p.char()
		if s.line == 0 && c != 0 && !strings.ContainsRune(" \t\r\n;}", rune(c)) {
			s.line = line
		}
		s.text = b.String()
		switch {
		case c == 0:
			return s, false, false
		case quoted:
		case c == '{' && depth == 0 && opensBlock(s.text):
			return s, true, true
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			p.closed = true
			return s, false, true
		case c == '}':
			depth--
		case (c == '\n' || c == ';') && depth == 0:
			if strings.TrimSpace(s.text) != "" {
				return s, false, true
			}
			continue
		case c == '\n':
			c = ' '
		}
		b.WriteByte(c)
	}
}

// blocks are the words that a block of a table begins with.
var blocks = []string{"table", "chain", "set", "map", "flowtable", "counter", "quota", "limit", "secmark", "synproxy", "ct"}

// opensBlock tells whether a brace behind this text opens a block, and not a
// set or a map of a rule.
func opensBlock(text string) bool {
	w := strings.Fields(text)
	switch {
	case len(w) < 2 || !slices.Contains(blocks, w[0]):
		return false
	case w[0] == "table":
		return len(w) <= 3
	case w[0] == "ct":
		// ct helper, timeout or expectation NAME {
		return len(w) == 3 && slices.Contains([]string{"helper", "timeout", "expectation"}, w[1])
	}
	return len(w) == 2
}

// char reads a character, 0 at the end. Comments are left out, a backslash
// joins lines. quoted tells that it belongs to a string; strings do not go over
// lines and have no escapes.
func (p *sourceParser) char() (c byte, quoted bool) {
	for p.at < len(p.text) {
		c = p.text[p.at]
		switch {
		case c == '#' && !p.inString:
			n := strings.IndexByte(p.text[p.at:], '\n')
			if n < 0 {
				n = len(p.text) - p.at
			}
			p.at += n
			continue
		case c == '\\' && strings.HasPrefix(p.text[p.at:], "\\\n"):
			p.at += 2
			p.line++
			return ' ', false
		}
		p.at++
		switch {
		case c == '\n':
			p.line++
			p.inString = false
		case c == '"':
			p.inString = !p.inString
			return c, true
		}
		return c, p.inString
	}
	return 0, false
}
