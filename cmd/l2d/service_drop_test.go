// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/api"
)

// solicited is the ruleset with what radvd is asked by, and what it is known to be well by.
var solicited = strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport 22 accept\n\t\ticmpv6 type { nd-router-solicit, nd-router-advert } accept", 1)

// newRadvdHost is a host whose daemon can run radvd.
func newRadvdHost(t *testing.T) *host {
	t.Helper()
	servicetest.Need(t, "radvd")
	h := newHost(t)
	h.ip("link", "set", "lo", "up") // by which the daemon answers its own host
	h.dir = servicetest.Dir(t)
	h.states = readStates(t, h.path("notify"))
	return h
}

// endServices ends them, which the daemon leaves running: what is declared no more ends.
func (h *host) endServices(t *testing.T) {
	t.Helper()
	h.write("l2d.yaml", h.config())
	if _, err := h.client().HostApply(t.Context(), api.HostOptions{}); err != nil {
		t.Error(err)
	}
}

// onlyServiceIs waits until what is wrong with the service that there is has some words; without any, until nothing is.
func (h *host) onlyServiceIs(words ...string) {
	h.t.Helper()
	servicetest.Eventually(h.t, func() error {
		list, err := h.client().Services(h.t.Context())
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%+v, %w", list, err)
		}
		problem := list[0].Error
		if (len(words) == 0) != (problem == "") || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(problem, w) }) {
			return fmt.Errorf("%q, not %q", problem, words)
		}
		return nil
	})
}

// follow puts another ruleset in force.
func (h *host) follow(text string) {
	h.t.Helper()
	h.write("firewall.nft", text)
	if _, err := h.client().Reload(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) applyServices(text string) error {
	h.write("l2d.yaml", text)
	_, err := h.client().HostApply(h.t.Context(), api.HostOptions{})
	return err
}

// TestServiceDropped: a service whose packets the ruleset drops is not well, and the rule is named. What it sends to its
// own host is seen there all the same.
func TestServiceDropped(t *testing.T) {
	h := newRadvdHost(t)
	withRadvd := func(more string) string {
		return h.config() + fmt.Sprintf("network: {lan: {interface: wan0, addresses: [\"192.0.2.1/24\", \"fd07::1/64\"]}}\nservices: {radvd: {mode: child, binary: %q%s}}\n",
			servicetest.Program(t, "radvd"), more)
	}
	own := "table ip6 own {\n\tchain output {\n\t\ttype filter hook output priority 0;\n\t\ticmpv6 type nd-router-advert drop\n\t}\n}\n"
	rule := fmt.Sprintf("its router advertisements are dropped: %s:%d: icmpv6 type nd-router-advert drop (chain ip6 own output)", h.path("firewall.nft"), strings.Count(solicited, "\n")+4)
	h.write("firewall.nft", solicited+own)
	h.write("l2d.yaml", h.config())
	h.start()
	h.expect("READY=1")
	defer h.endServices(t)
	wants, follow, apply := h.onlyServiceIs, h.follow, h.applyServices
	if err := apply(withRadvd("")); err == nil || !strings.Contains(err.Error(), rule) {
		t.Errorf("a new service: %v, not %q", err, rule)
	}
	if list, err := h.client().Services(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("not undone: %+v, %v", list, err)
	}
	follow(solicited)
	wants()

	// One that runs goes on, and can be changed.
	follow(solicited + own)
	wants(rule)
	if err := apply(withRadvd(", prefixes: ['fd08::/64']")); err != nil {
		t.Error(err)
	}
	wants(rule)
	follow(ruleset)
	wants("its hosts' router solicitations are dropped: "+h.path("firewall.nft"), "no rule of chain inet filter input accepts it, and its policy drops it")
	follow(solicited)
	wants()
}

// TestDHCPv6Dropped: so it is with a DHCPv6 server, whose clients have link-local addresses.
func TestDHCPv6Dropped(t *testing.T) {
	servicetest.Need(t, "kea-dhcp6")
	h := newHost(t)
	h.dir = servicetest.Dir(t)
	h.states = readStates(t, h.path("notify"))
	h.ip("link", "set", "lo", "up")
	h.ip("link", "set", "br0", "up")
	config := h.config() + fmt.Sprintf("network: {lan: {interface: wan0, addresses: [\"fd07::1/64\"]}}\nservices: {kea_dhcp6: {mode: child, binary: %q, lease_file: %q, pools: ['fd07::1000-fd07::1fff']}}\n",
		servicetest.Program(t, "kea-dhcp6"), h.path("kea/leases6.csv"))
	asked := strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport 22 accept\n\t\tip6 saddr fe80::/10 udp dport 547 accept", 1)
	h.write("firewall.nft", ruleset)
	h.write("l2d.yaml", h.config())
	h.start()
	h.expect("READY=1")
	defer h.endServices(t)
	const problem = "its clients' requests are dropped: "
	if err := h.applyServices(config); err == nil || !strings.Contains(err.Error(), problem+h.path("firewall.nft")) {
		t.Errorf("a new service: %v, not %q", err, problem)
	}
	h.follow(asked)
	if err := h.applyServices(config); err != nil {
		t.Fatal(err)
	}
	h.onlyServiceIs()
	h.follow(asked + "table ip6 own {\n\tchain output {\n\t\ttype filter hook output priority 0;\n\t\tudp sport 547 drop\n\t}\n}\n")
	h.onlyServiceIs("its answers to clients are dropped: ", "udp sport 547 drop (chain ip6 own output)")
	h.follow(asked)
	h.onlyServiceIs()
}
