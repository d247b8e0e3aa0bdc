// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Attributes of a service. Those of a file have its path behind them.
const (
	fileKey    = "file "
	ownerKey   = "owner "
	processKey = "process"
	stateKey   = "state"
)

// Values of stateKey.
const (
	// up: it runs, and says that it is well.
	up = "up"
	// down: it does not, which may be what was before.
	down = "down"
	// absent: l2d runs none.
	absent = reconcile.Absent
)

// digest is what stands for a text that is not shown. Without the key it does not help to guess.
func digest(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// attributes are what a unit looks like, without the state.
func attributes(key []byte, u *Unit) reconcile.State {
	s := reconcile.State{}
	for i := range u.Files {
		f := &u.Files[i]
		s[fileKey+f.Path] = mask(key, string(f.Content), f.Secrets, f.Hidden)
		s[ownerKey+f.Path] = ownership(f.Mode, f.Owner, f.Group)
	}
	// Of a unit of systemd its file says it.
	if u.Argv != nil && u.Mode != config.ModeSystemd {
		s[processKey] = process(u)
	}
	return s
}

// identity names a unit by what it looks like.
func identity(key []byte, s reconcile.State) string {
	var b strings.Builder
	for _, k := range s.Keys() {
		if k != stateKey {
			fmt.Fprintf(&b, "%q=%q\n", k, s[k])
		}
	}
	return digest(key, b.String())
}

// printable has escapes in the place of what a terminal would obey, and of bytes that are no text: services quote what
// others have sent them.
func printable(text string) string {
	var b strings.Builder
	for rest := text; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		rest = rest[n:]
	}
	return b.String()
}

// mask has digests in the place of secrets, and of whole lines that are hidden.
func mask(key []byte, text string, secrets, hidden []string) string {
	// A secret can be a part of another one.
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	lines := linesOf(text)
	for i, l := range lines {
		if slices.Contains(hidden, l) {
			lines[i] = "<another line " + digest(key, l) + ">"
			continue
		}
		for _, s := range secrets {
			if s != "" {
				lines[i] = strings.ReplaceAll(lines[i], s, "<secret "+digest(key, s)+">")
			}
		}
	}
	return strings.Join(lines, "\n")
}

// conceal has what is not to be seen of a file that was found, of which some versions are
// known: their secrets and, if there are any, all lines that none of them has. Somebody may have changed one.
func (f *File) conceal(known []*File) {
	lines := map[string]bool{}
	for _, k := range known {
		f.Secrets = append(f.Secrets, k.Secrets...)
		for _, l := range linesOf(string(k.Content)) {
			lines[l] = !slices.Contains(k.Hidden, l)
		}
	}
	slices.Sort(f.Secrets)
	f.Secrets = slices.Compact(f.Secrets)
	if f.Secrets == nil {
		return
	}
	for _, l := range linesOf(string(f.Content)) {
		if !lines[l] && l != "" {
			f.Hidden = append(f.Hidden, l)
		}
	}
}

// linesOf are the lines of a text without their ends.
func linesOf(text string) []string { return strings.Split(text, "\n") }

func ownership(mode fs.FileMode, owner, group string) string {
	return fmt.Sprintf("%04o %s:%s", mode.Perm(), orRoot(owner), orRoot(group))
}

func orRoot(name string) string {
	if name == "" {
		return "root"
	}
	return name
}

// process is how a unit is run, a line for each of its properties.
func process(u *Unit) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	line("command", strings.Join(u.Argv, " "))
	for _, e := range u.Env {
		line("environment", e)
	}
	line("mode", u.Mode)
	line("user", u.User)
	line("group", u.Group)
	line("capabilities", strings.Join(u.Caps, " "))
	line("cpus", cpus.Format(u.Service.CPUs))
	if w := u.Service.CPUWeight; w != 0 {
		line("cpu weight", fmt.Sprint(w))
	}
	if n := u.Service.Nice; n != nil {
		line("nice", fmt.Sprint(*n))
	}
	line("disk", u.Sandbox.IOClass)
	if m := u.Service.MemoryHigh; m != 0 {
		line("memory high", fmt.Sprint(m))
	}
	if m := u.Service.MemoryMax; m != 0 {
		line("memory max", fmt.Sprint(m))
	}
	line("slice", u.Service.Slice)
	line("restart", u.Service.Restart)
	for _, d := range u.Dirs {
		line("directory", d.Path+" "+ownership(d.Mode, d.Owner, d.Group))
	}
	return b.String()
}
