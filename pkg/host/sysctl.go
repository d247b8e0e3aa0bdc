// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/internal/nearest"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// SysctlKind is the name of [Sysctl].
const SysctlKind = "sysctl"

// valueKey is the attribute of a sysctl that is declared. Those that the kernel
// changes along with it have their own names as attributes.
const valueKey = "value"

// Sysctl is the kind of kernel settings below /proc/sys. A resource has the name
// that sysctl(8) prints: with dots, and a slash for a dot that is part of a name,
// as in net.ipv4.conf.eth0/100.forwarding.
type Sysctl struct {
	// Root is /proc/sys but in tests.
	Root string

	trials *trials
}

// NewSysctl returns the kind for the running kernel.
func NewSysctl() *Sysctl {
	return &Sysctl{Root: "/proc/sys", trials: ofKernel}
}

// Name implements [reconcile.Kind].
func (*Sysctl) Name() string { return SysctlKind }

// swap exchanges dots and slashes: a name for its path, and back.
var swap = strings.NewReplacer(".", "/", "/", ".")

func (s *Sysctl) path(name string) string { return filepath.Join(s.Root, swap.Replace(name)) }

// CanonicalSysctl returns a name as [Sysctl] has it. As in sysctl.d(5), names may
// have slashes as separators, too: what comes first is the separator.
func CanonicalSysctl(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		return swap.Replace(name)
	}
	return name
}

// Expand returns the names that there are for a name with * as some of its parts,
// in order, or the name itself if it has none.
func (s *Sysctl) Expand(name string) ([]string, error) {
	parts := strings.Split(swap.Replace(name), "/")
	if !slices.Contains(parts, "*") {
		return []string{name}, nil
	}
	found := []string{""}
	for _, part := range parts {
		var next []string
		for _, dir := range found {
			names := []string{part}
			if part == "*" {
				entries, err := os.ReadDir(filepath.Join(s.Root, dir))
				if err != nil {
					continue // another branch may have it
				}
				names = nil
				for _, e := range entries {
					names = append(names, e.Name())
				}
			}
			for _, n := range names {
				if p := filepath.Join(dir, n); exists(filepath.Join(s.Root, p)) {
					next = append(next, p)
				}
			}
		}
		found = next
	}
	if len(found) == 0 {
		return nil, errors.New("no such sysctl")
	}
	for i, p := range found {
		found[i] = swap.Replace(p)
	}
	return found, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Check implements [reconcile.Kind].
func (s *Sysctl) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	problem := func(what, want string) []reconcile.Problem {
		return []reconcile.Problem{{Resource: r, Problem: what, Want: want}}
	}
	info, err := os.Stat(s.path(r.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		want := "one that \"sysctl -a\" lists"
		if near := s.nearest(r.Name); near != "" {
			want = near
		}
		return problem("no such sysctl", want)
	case err != nil:
		return problem(err.Error(), "")
	case info.IsDir():
		return problem("is a directory of sysctls", "one of those in it, or "+r.Name+".*")
	case info.Mode()&0o200 == 0:
		return problem("cannot be written", "a sysctl that can be changed")
	case info.Mode()&0o400 == 0:
		return problem("cannot be read back: writing it is an action and not a state", "a sysctl that has a value")
	}
	return s.refused(r)
}

// nearest is the sysctl whose name is most like another; empty if none is alike.
func (s *Sysctl) nearest(name string) string {
	var names []string
	_ = filepath.WalkDir(s.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is no suggestion
		}
		rel, err := filepath.Rel(s.Root, path)
		if err != nil {
			return nil
		}
		names = append(names, swap.Replace(rel))
		return nil
	})
	return nearest.Of(name, names)
}

// nearestPattern is the pattern that was probably meant by one of interfaces' sysctls that is
// of none; empty if that is not known.
func (s *Sysctl) nearestPattern(pattern string) string {
	const all = "default" // interfaces have what this one has
	if linkOfSysctl(pattern) != "*" {
		return ""
	}
	name := strings.Replace(pattern, "*", all, 1)
	near := s.nearest(name)
	if linkOfSysctl(near) != all {
		return ""
	}
	return strings.Replace(near, "."+all+".", ".*.", 1)
}

// Observe implements [reconcile.Kind].
func (s *Sysctl) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	out := reconcile.State{}
	for _, key := range keys {
		b, err := os.ReadFile(s.path(attribute(name, key)))
		if key != valueKey && errors.Is(err, fs.ErrNotExist) {
			continue // went with its interface
		}
		if err != nil {
			return nil, err
		}
		out[key] = canonical(attribute(name, key), string(b))
	}
	return out, nil
}

// attribute is the sysctl that an attribute of a resource stands for.
func attribute(name, key string) string {
	if key == valueKey {
		return name
	}
	return key
}

// words are a value without what the kernel formats it with.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// Same implements [reconcile.Kind].
func (*Sysctl) Same(_, want, have string) bool { return sameValue(want, have) }

// oneWay are settings that the kernel does not take back, by value; "" is any.
var oneWay = map[string]string{
	"kernel.modules_disabled":          "1",
	"kernel.kexec_load_disabled":       "1",
	"kernel.unprivileged_bpf_disabled": "1",
	"kernel.yama.ptrace_scope":         "3",
}

// Effect implements [reconcile.Kind].
func (*Sysctl) Effect(name string, to reconcile.State) reconcile.Effect {
	value := words(to[valueKey])
	switch {
	case oneWay[name] == value && value != "":
		return reconcile.Effect{Impact: reconcile.NotRevertable, Why: "the kernel does not take it back until it is booted again"}
	case strings.HasPrefix(name, "net.ipv6.conf.") && strings.HasSuffix(name, ".disable_ipv6") && value != "0":
		return reconcile.Effect{Impact: reconcile.NotRevertable, Why: "IPv6 addresses and routes are removed"}
	}
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// dependents are the sysctls that change along with some, as patterns of [Expand]:
// inet_forward_change of net/ipv4/devinet.c, addrconf_fixup_forwarding and others of
// net/ipv6/addrconf.c; what is the default congestion control is allowed by that.
var dependents = map[string][]string{
	"net.ipv4.ip_forward":                           {"net.ipv4.conf.*.forwarding", "net.ipv4.conf.all.accept_redirects"},
	"net.ipv4.conf.all.forwarding":                  {"net.ipv4.conf.*.forwarding", "net.ipv4.conf.all.accept_redirects"},
	congestionControl:                               {allowedCongestionControl},
	"net.ipv6.conf.all.addr_gen_mode":               {"net.ipv6.conf.*.addr_gen_mode"},
	"net.ipv6.conf.all.disable_ipv6":                {"net.ipv6.conf.*.disable_ipv6"},
	"net.ipv6.conf.all.force_forwarding":            {"net.ipv6.conf.*.force_forwarding"},
	"net.ipv6.conf.all.forwarding":                  {"net.ipv6.conf.*.forwarding"},
	"net.ipv6.conf.all.ignore_routes_with_linkdown": {"net.ipv6.conf.*.ignore_routes_with_linkdown"},
}

// keptByLinks are settings of net.ipv4.conf that interfaces have of their own as soon as they are there.
var keptByLinks = []string{"forwarding", "disable_policy", "disable_xfrm", "drop_unicast_in_l2_multicast", "promote_secondaries", "route_localnet"}

// alongWith are the dependents of a sysctl. An interface without an IPv4 address follows each default that it was never given a
// value of its own in the place of: devinet_copy_dflt_conf of net/ipv4/devinet.c.
func alongWith(name string) []string {
	const conf, of = "net.ipv4.conf.", "default."
	if setting, ok := strings.CutPrefix(name, conf+of); ok && !slices.Contains(keptByLinks, setting) {
		return []string{conf + "*." + setting}
	}
	return dependents[name]
}

// SysctlRank is the rank of a sysctl's resource: those that change others along
// with them are set before these. The default qdisc is set after all qdiscs, so that
// a default one that was replaced is the same when this is undone.
func SysctlRank(name string) int {
	switch {
	case alongWith(name) != nil:
		return 0
	case name == defaultQdisc:
		return qdiscRank + 10
	}
	return 1
}

// Before implements [reconcile.Kind].
func (s *Sysctl) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	keys := to.Keys()
	for _, pattern := range alongWith(name) {
		names, err := s.Expand(pattern)
		if err != nil {
			continue // a kernel without it
		}
		keys = append(keys, slices.DeleteFunc(names, func(n string) bool { return n == name || !s.writable(n) })...)
	}
	return s.Observe(ctx, name, keys)
}

// writable tells whether a sysctl can be set: some cannot in other namespaces than the
// first.
func (s *Sysctl) writable(name string) bool {
	info, err := os.Stat(s.path(name))
	return err == nil && info.Mode()&0o200 != 0
}

// Set implements [reconcile.Kind].
func (s *Sysctl) Set(_ context.Context, name string, to reconcile.State) error {
	if v, ok := to[valueKey]; ok {
		if err := write(s.path(name), v); err != nil {
			return err
		}
	}
	// After it, as it changes these. What is so already is not written: an interface has a value of its own
	// from then on.
	for _, key := range to.Keys() {
		if b, err := os.ReadFile(s.path(key)); key == valueKey || err == nil && canonical(key, string(b)) == to[key] {
			continue
		}
		if err := write(s.path(key), to[key]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// write is one write(2), as /proc wants it, and never makes a file.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}
