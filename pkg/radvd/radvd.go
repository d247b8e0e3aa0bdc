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
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon].
type Daemon struct {
	mu sync.Mutex
	// seen is when an advertisement was seen last, by the name of the interface.
	seen map[string]time.Time
}

// New returns the daemon.
func New() *Daemon { return &Daemon{seen: map[string]time.Time{}} }

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
	dir := dirs.Of(d.Name())
	file := filepath.Join(dir, "radvd.conf")
	return []*service.Unit{{
		Name: d.Name(), Daemon: d.Name(), Mode: r.Mode, Service: r.Service,
		Files: []service.File{{Path: file, Content: render(r, lan), Mode: 0o644}},
		Argv:  []string{service.Program(&r.Service, "radvd"), "-n", "-m", "stderr", "-C", file, "-p", filepath.Join(dir, "run", "radvd.pid")},
		User:  r.User, Caps: []string{"CAP_NET_RAW"},
		Dirs:    []service.Dir{{Path: dir, Mode: 0o755}, {Path: filepath.Join(dir, "run"), Mode: 0o755, Owner: r.User}},
		Sandbox: service.Sandbox{Families: []string{"AF_INET6", "AF_NETLINK", "AF_UNIX"}},
		Params:  map[string]string{interfaceParam: lan.Interface},
	}}, nil
}

// render is radvd.conf(5).
func render(r *config.Radvd, lan *config.LAN) []byte {
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
	for _, p := range prefixes(r, lan) {
		line("\tprefix %v {", p)
		line("\t\tAdvOnLink on;")
		// A host's part of an address has 64 bits, RFC 4291.
		line("\t\tAdvAutonomous %s;", onOff(p.Bits() == 64))
		line("\t\tAdvValidLifetime %d;", seconds(r.ValidLifetime))
		line("\t\tAdvPreferredLifetime %d;", seconds(r.PreferredLifetime))
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

// prefixes are those of the LAN's addresses, and the others.
func prefixes(r *config.Radvd, lan *config.LAN) []netip.Prefix {
	out := lan.Prefixes(6)
	for _, p := range r.Prefixes {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
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

// fresh is how long an advertisement is a sign of life: clients, and other routers, are not to be
// asked all the time.
const fresh = time.Minute

// Health implements [service.Daemon].
func (d *Daemon) Health(ctx context.Context, u *service.Unit) (service.Health, error) {
	name := u.Params[interfaceParam]
	d.mu.Lock()
	last := d.seen[name]
	d.mu.Unlock()
	if time.Since(last) > fresh {
		if err := solicit(ctx, name); err != nil {
			return service.Health{}, err
		}
		last = time.Now()
		d.mu.Lock()
		d.seen[name] = last
		d.mu.Unlock()
	}
	return service.Health{Detail: fmt.Sprintf("advertises on %s", name)}, nil
}
