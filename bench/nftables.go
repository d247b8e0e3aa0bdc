// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// NFTablesName is the name of the device that l2d is compared with.
const NFTablesName = "nftables"

// NFTables is the kernel's forwarding with a ruleset that masquerades.
type NFTables struct {
	Ruleset string // file
	// Label is behind the name; may be empty.
	Label string
	// Flows that there has to be room for.
	Flows int

	router *Topology
}

func init() {
	register(NFTablesName, func(o DeviceOptions) Device { return &NFTables{Ruleset: o.Ruleset, Flows: o.Flows} })
}

// Name implements [Device].
func (n *NFTables) Name() string { return NFTablesName + n.Label }

// Stateful implements [Device].
func (*NFTables) Stateful() bool { return true }

// Promise implements [Device].
func (*NFTables) Promise() Promise {
	return Promise{Masqueraded: true, TTL: startTTL - 1}
}

// Missing implements [Needer]: the limit of flows is the machine's, which the bench leaves alone.
func (n *NFTables) Missing(context.Context) error {
	text, err := os.ReadFile(conntrackMaxFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil // conntrack is not there yet
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", conntrackMaxFile, err)
	}
	if n.Flows > limit {
		return fmt.Errorf("%d flows, and %s is %d", n.Flows, conntrackMaxFile, limit)
	}
	return nil
}

// conntrackMaxFile is the limit of flows of all network namespaces.
const conntrackMaxFile = "/proc/sys/net/netfilter/nf_conntrack_max"

// Setup implements [Device].
func (n *NFTables) Setup(ctx context.Context, t *Topology) error {
	n.router = t
	return t.InRouter(func() error {
		out, err := exec.CommandContext(ctx, "nft", "-f", n.Ruleset).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft -f %s: %w\n%s", n.Ruleset, err, bytes.TrimSpace(out))
		}
		for _, s := range []string{"udp_timeout", "udp_timeout_stream"} {
			err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_"+s, []byte(strings.TrimSuffix(idle, "s")), 0o644)
			if err != nil {
				return fmt.Errorf("sysctl: %w", err)
			}
		}
		return nil
	})
}

// Forget implements [Forgetter].
func (n *NFTables) Forget(context.Context) error {
	return n.router.InRouter(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

// Teardown implements [Device]: the ruleset goes with the namespace.
func (*NFTables) Teardown() error { return nil }
