// SPDX-License-Identifier: GPL-2.0-only

// Package radvd has the router advertisement daemon as a service.
package radvd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/prefixes"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon].
type Daemon struct {
	mu sync.Mutex
	// seen is the advertisement that was seen last, by the name of the interface.
	seen map[string]sign
	// delegated is when a prefix was found to be delegated last.
	delegated map[netip.Prefix]time.Time
}

// New returns the daemon.
func New() *Daemon {
	return &Daemon{seen: map[string]sign{}, delegated: map[netip.Prefix]time.Time{}}
}

// Name implements [service.Daemon].
func (*Daemon) Name() string { return "radvd" }

// interfaceParam is the interface that it announces on.
const interfaceParam = "interface"

// Units implements [service.Daemon].
func (d *Daemon) Units(c *config.Config, dirs service.Dirs) ([]*service.Unit, error) {
	r, lan := c.Services.Radvd, c.Network.LAN
	if r == nil {
		return nil, nil
	}
	list, err := d.prefixes(r, lan)
	if err != nil {
		e := r.At(c.Path)
		e.Problem = err.Error()
		return nil, e
	}
	dir := dirs.Of(d.Name())
	file := filepath.Join(dir, "radvd.conf")
	return []*service.Unit{{
		Name: d.Name(), Daemon: d.Name(), Mode: r.Mode, Service: r.Service,
		Files: []service.File{{Path: file, Content: render(r, lan, list), Mode: 0o644}},
		Argv:  []string{service.Program(&r.Service, "radvd"), "-n", "-m", "stderr", "-C", file, "-p", filepath.Join(dir, "run", "radvd.pid")},
		User:  r.User, Caps: []string{"CAP_NET_RAW"},
		Dirs:    []service.Dir{{Path: dir, Mode: 0o755}, {Path: filepath.Join(dir, "run"), Mode: 0o755, Owner: r.User}},
		Sandbox: service.Sandbox{Families: []string{"AF_INET6", "AF_NETLINK", "AF_UNIX"}},
		Params:  map[string]string{interfaceParam: lan.Interface},
		// What follows from somebody else's change needs nobody to apply it.
		Enforce: r.Delegated,
	}}, nil
}

// render is radvd.conf(5).
func render(r *config.Radvd, lan *config.LAN, list []prefix) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	line("# Made by l2d from services.radvd and network.lan: changes here are undone.")
	line("interface %s {", lan.Interface)
	line("\tAdvSendAdvert on;")
	line("\tIgnoreIfMissing on;")
	line("\tMinRtrAdvInterval %d;", seconds(r.MinInterval))
	line("\tMaxRtrAdvInterval %d;", seconds(r.MaxInterval))
	line("\tAdvDefaultLifetime %d;", seconds(r.Lifetime))
	line("\tAdvManagedFlag %s;", onOff(r.Managed))
	line("\tAdvOtherConfigFlag %s;", onOff(r.Other))
	if r.MTU != 0 {
		line("\tAdvLinkMTU %d;", r.MTU)
	}
	for _, p := range list {
		line("\tprefix %v {", p.Prefix)
		line("\t\tAdvOnLink on;")
		// A host's part of an address has 64 bits, RFC 4291.
		line("\t\tAdvAutonomous %s;", onOff(p.Bits() == 64))
		line("\t\tAdvValidLifetime %d;", seconds(p.valid))
		line("\t\tAdvPreferredLifetime %d;", seconds(p.preferred))
		line("\t};")
	}
	for _, a := range lan.Servers(6) {
		line("\tRDNSS %v {", a)
		line("\t\tAdvRDNSSLifetime %d;", seconds(r.DNSLifetime))
		line("\t};")
	}
	if lan.Domain != "" {
		line("\tDNSSL %s {", lan.Domain)
		line("\t\tAdvDNSSLLifetime %d;", seconds(r.DNSLifetime))
		line("\t};")
	}
	line("};")
	return b.Bytes()
}

// prefix is what is announced of one.
type prefix struct {
	netip.Prefix
	valid, preferred time.Duration
}

// prefixes are those of the LAN's addresses, the others that are declared, and those that are, or
// were, delegated.
func (d *Daemon) prefixes(r *config.Radvd, lan *config.LAN) (out []prefix, err error) {
	add := func(list []netip.Prefix, valid, preferred time.Duration) {
		for _, p := range list {
			if !slices.ContainsFunc(out, func(o prefix) bool { return o.Prefix == p }) {
				out = append(out, prefix{p, valid, preferred})
			}
		}
	}
	add(lan.Prefixes(6), r.ValidLifetime, r.PreferredLifetime)
	add(r.Prefixes, r.ValidLifetime, r.PreferredLifetime)
	if !r.Delegated {
		return out, nil
	}
	now, err := prefixes.Delegated(lan)
	add(now, min(delegatedValid, r.ValidLifetime), min(delegatedPreferred, r.PreferredLifetime))
	add(d.note(now), min(delegatedValid, r.ValidLifetime), 0)
	return out, err
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// Check implements [service.Daemon].
func (*Daemon) Check(ctx context.Context, u *service.Unit, staged string) error {
	_, err := service.Run(ctx, u.Argv[0], "-c", "-C", service.At(staged, u.Files[0].Path))
	return err
}

// Effect implements [service.Daemon].
func (*Daemon) Effect(_, _ *service.Unit) service.Effect {
	return service.Effect{Action: service.Reload}
}

// Reload implements [service.Daemon].
func (d *Daemon) Reload(_ context.Context, u *service.Unit, signal func(string) error) error {
	d.mu.Lock()
	delete(d.seen, u.Params[interfaceParam])
	d.mu.Unlock()
	return signal("SIGHUP")
}

// sign is an advertisement that was seen, and of which process.
type sign struct {
	at  time.Time
	pid int
}

// fresh is how long an advertisement is a sign of life: clients, and other routers, are not to be
// asked all the time.
const fresh = time.Minute

// Health implements [service.Daemon].
func (d *Daemon) Health(ctx context.Context, u *service.Unit, p service.Process) (service.Health, error) {
	name := u.Params[interfaceParam]
	d.mu.Lock()
	last := d.seen[name]
	d.mu.Unlock()
	if time.Since(last.at) > fresh || last.pid != p.PID {
		if err := solicit(ctx, name); err != nil {
			return service.Health{}, err
		}
		d.mu.Lock()
		d.seen[name] = sign{time.Now(), p.PID}
		d.mu.Unlock()
	}
	return service.Health{Detail: fmt.Sprintf("advertises on %s", name)}, nil
}
