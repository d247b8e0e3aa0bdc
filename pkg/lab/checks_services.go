// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/internal/tinyllama"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

// serviceChecks have l2d run daemons for clients of the LAN, and end them.
func serviceChecks() []Check {
	const group = "l2d's services"
	return []Check{
		{group, "lease and name", "its DHCP server gives an address, and its resolver finds a name; the host's own is in l2ctl flows and top", checkServices},
		{group, "SLAAC", "a host gets address, route and resolver by its advertisements, finds a name, and downloads", checkSLAAC},
		{group, "LLM", "llama-server answers a question with a tiny model of random weights", checkLLM},
	}
}

// lanConfig is the LAN as services want it.
const lanConfig = `
network: { lan: { interface: br0, addresses: ["%s/24", "%s/64"] } }
services:
`

// Services of the lab. Those of its Internet sign nothing.
const (
	keaConfig      = "  kea_dhcp4: { mode: child, binary: %q, lease_file: %q, pools: [%s-%s] }\n"
	recursorConfig = "  recursor: { mode: child, dnssec: process, forward_recursive: { .: [%s] } }\n"
	llamaConfig    = "  llama: [{ name: tiny, mode: child, user: root, binary: %q, model: %q, listen: '127.0.0.1:8090', context: 128, parallel: 1, threads: 1 }]\n"
	radvdConfig    = "  radvd: { mode: child, user: nobody }\n"
)

// withServices has services run as long as fn does.
func (t *trial) withServices(ctx context.Context, config string, fn func(d *L2D) error) (err error) {
	d, err := l2dOf(t)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(d.Config())
	if err != nil {
		return err
	}
	text := fmt.Appendf(before, lanConfig, AddrRouterLAN.V4, AddrRouterLAN.V6)
	if err := d.apply(ctx, append(text, config...)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.apply(ctx, before)) }()
	return fn(d)
}

func checkServices(ctx context.Context, t *trial) error {
	kea, err := t.tool("kea-dhcp4")
	if err != nil {
		return err
	}
	leases := filepath.Join(toolDir(t.id), "kea", "leases4.csv")
	config := fmt.Sprintf(keaConfig+recursorConfig, kea, leases, dhcpPool[0], dhcpPool[1], AddrServer.V4)
	return t.withServices(ctx, config, func(d *L2D) error {
		addr, err := t.leaseOf(ctx, "l2d's Kea", func() string {
			log, err := d.l2ctl(ctx, "services", "logs", "kea-dhcp4")
			return errors.Join(errors.New(log), err).Error()
		})
		if err != nil {
			return err
		}
		if err := d.knowsLease(ctx, addr); err != nil {
			return err
		}
		if err := wrap(t.dnsUDP(ctx, Client1, AddrRouterLAN.V4), "the recursor"); err != nil {
			return err
		}
		// What the client does not do with its lease: it has the name by its MAC address.
		if err := wrap(t.dnsUDP(ctx, Client2, AddrRouterLAN.V4), "the recursor"); err != nil {
			return err
		}
		return d.knowsName(ctx, AddrClient2.V4, dhcpName)
	})
}

// knowsName wants a host's name in "l2ctl flows --names" and "l2ctl top --json".
func (d *L2D) knowsName(ctx context.Context, addr netip.Addr, name string) error {
	return poll(ctx, checkLimit/2, func() error { // names are read every ten seconds
		flows, err := d.l2ctl(ctx, "flows", "--names")
		if err != nil {
			return err
		}
		if !strings.Contains(flows, " src="+name+" ") || strings.Contains(flows, addr.String()) {
			return fmt.Errorf("no %s in the place of %s in l2ctl flows --names:\n%s", name, addr, flows)
		}
		top, err := d.l2ctl(ctx, "top", "--json")
		if err != nil {
			return err
		}
		var view observe.View
		if err := json.Unmarshal([]byte(top), &view); err != nil {
			return fmt.Errorf("l2ctl top --json: %w", err)
		}
		for _, h := range view.Hosts {
			if h.Address == addr && h.Name == name {
				return nil
			}
		}
		return fmt.Errorf("l2ctl top has %+v, and %s is %s", view.Hosts, addr, name)
	})
}

// guestDownload is enough for a few hundred packets, in bytes.
const guestDownload = 1 << 20

// checkSLAAC has a host with nothing of its own come to the LAN.
func checkSLAAC(ctx context.Context, t *trial) error {
	config := fmt.Sprintf(recursorConfig+radvdConfig, AddrServer.V4)
	return t.withServices(ctx, config, func(*L2D) error {
		return t.withGuest(func(heard *options) error {
			if err := t.settles(ctx, heard); err != nil {
				return err
			}
			return t.decidedBy(ctx, func() error { return t.download(ctx, Guest, AddrServer.V6, guestDownload, "") }, fwOut6, fwReturn)
		})
	})
}

// settles waits until the guest has what advertisements give it, and has the resolver find a name.
func (t *trial) settles(ctx context.Context, heard *options) error {
	prefix, err := AddrRouterLAN.V6.Prefix(64)
	if err != nil {
		return err
	}
	addr, err := t.addressIn(ctx, prefix)
	if err != nil {
		return err
	}
	resolvers, err := heard.resolvers(answerTime)
	if err != nil {
		return err
	}
	if !slices.Equal(resolvers, []netip.Addr{AddrRouterLAN.V6}) {
		return fmt.Errorf("resolvers %v, want %v", resolvers, AddrRouterLAN.V6)
	}
	t.note("%s", addr)
	return wrap(t.dnsUDP(ctx, Guest, resolvers[0]), "the recursor")
}

// checkLLM asks as a person would.
func checkLLM(ctx context.Context, t *trial) (err error) {
	dir := filepath.Join(toolDir(t.id), "llama")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	program, undo, err := tinyllama.Install(dir)
	if errors.Is(err, tinyllama.ErrNone) {
		return fmt.Errorf("%w: %w", errSkipped, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	model := filepath.Join(dir, "tiny.gguf")
	if err := tinyllama.WriteModel(model); err != nil {
		return err
	}
	return t.withServices(ctx, fmt.Sprintf(llamaConfig, program, model), func(d *L2D) error {
		answer, err := d.l2ctl(ctx, "llm", "ask", "--tokens", "8", "what is the answer")
		if err != nil {
			return err
		}
		if answer = strings.TrimSpace(answer); answer == "" {
			return errors.New("the model has nothing to say")
		}
		t.note("%q", answer)
		return nil
	})
}

// apply puts a configuration in force, with its services.
func (d *L2D) apply(ctx context.Context, config []byte) error {
	if err := os.WriteFile(d.Config(), config, 0o644); err != nil {
		return err
	}
	_, err := d.l2ctl(ctx, "apply")
	return err
}

// knowsLease asks "l2ctl leases --json".
func (d *L2D) knowsLease(ctx context.Context, addr netip.Addr) error {
	out, err := d.l2ctl(ctx, "leases", "--json")
	if err != nil {
		return err
	}
	var list []struct {
		Prefix netip.Prefix `json:"prefix"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return fmt.Errorf("l2ctl leases --json: %w", err)
	}
	if len(list) != 1 || list[0].Prefix.Addr() != addr {
		return fmt.Errorf("l2ctl leases has %s, and the client %s", out, addr)
	}
	return nil
}
