// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
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

	router *Topology
}

func init() {
	register(NFTablesName, func(o DeviceOptions) Device { return &NFTables{Ruleset: o.Ruleset} })
}

// Name implements [Device].
func (n *NFTables) Name() string { return NFTablesName + n.Label }

// Stateful implements [Device].
func (*NFTables) Stateful() bool { return true }

// Promise implements [Device].
func (*NFTables) Promise() Promise {
	return Promise{Masqueraded: true, TTL: startTTL - 1}
}

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
