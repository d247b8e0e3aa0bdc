// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
)

// Flowtable is nftables with a flowtable, which takes the packets of flows that the
// ruleset has let through past it.
type Flowtable struct {
	NFTables
	before flowtableReading
}

const flowtableName = "flowtable"

func init() {
	register(flowtableName, func(o DeviceOptions) Device {
		return &Flowtable{NFTables: NFTables{Ruleset: o.Ruleset, Flows: o.Flows}}
	})
}

// Behind the ruleset's own chains: what they drop comes to no flowtable. The counter is
// of the packets that it leaves to them.
const flowtableRules = `table inet bench_flowtable {
	flowtable f {
		hook ingress priority filter
		devices = { ` + IngressName + `, ` + EgressName + ` }
	}
	chain forward {
		type filter hook forward priority filter + 10
		meta l4proto { tcp, udp } counter flow add @f
	}
}
`

// Name implements [Device].
func (*Flowtable) Name() string { return flowtableName }

// Setup implements [Device].
func (d *Flowtable) Setup(ctx context.Context, t *Topology) error {
	if err := d.NFTables.Setup(ctx, t); err != nil {
		return err
	}
	return t.InRouter(func() error { return addFlowtable(ctx) })
}

func addFlowtable(ctx context.Context) error {
	nft := exec.CommandContext(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(flowtableRules)
	if out, err := nft.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(bytes.TrimSpace(out)), "\n")
		return fmt.Errorf("add a flowtable: %w: %s", err, first)
	}
	return nil
}

// Missing implements [Needer]: the kernel takes a flowtable or it does not.
func (d *Flowtable) Missing(ctx context.Context) error {
	if err := d.NFTables.Missing(ctx); err != nil {
		return err
	}
	t, err := NewTopology()
	if err != nil {
		return err
	}
	return errors.Join(t.InRouter(func() error { return addFlowtable(ctx) }), t.Close())
}

// flowtableReading is how many packets have come to the router, and to its rules.
type flowtableReading struct{ came, met uint64 }

func (d *Flowtable) read(ctx context.Context) (r flowtableReading, err error) {
	err = d.router.InRouter(func() error {
		link, err := netlink.LinkByIndex(d.router.Ingress.Index)
		if err != nil {
			return err
		}
		r.came = link.Attrs().Statistics.RxPackets
		out, err := exec.CommandContext(ctx, "nft", "--json", "list", "chain", "inet", "bench_flowtable", "forward").Output()
		if err != nil {
			return fmt.Errorf("read the counter of packets beside the flowtable: %w", err)
		}
		r.met, err = firstCounter(out)
		return err
	})
	return r, err
}

// firstCounter is what the first counter of a chain has counted, in nft's JSON.
func firstCounter(text []byte) (uint64, error) {
	var list struct {
		Nftables []struct {
			Rule struct {
				Expr []struct {
					Counter *struct{ Packets uint64 }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("nft --json: %w", err)
	}
	for _, o := range list.Nftables {
		for _, e := range o.Rule.Expr {
			if e.Counter != nil {
				return e.Counter.Packets, nil
			}
		}
	}
	return 0, errors.New("nft --json: no counter")
}

// Watch implements [Verifier].
func (d *Flowtable) Watch(ctx context.Context) (err error) {
	d.before, err = d.read(ctx)
	return err
}

// Verify implements [Verifier].
func (d *Flowtable) Verify(ctx context.Context, _ Case) error {
	after, err := d.read(ctx)
	if err != nil {
		return err
	}
	came, met := after.came-d.before.came, after.met-d.before.met
	if came == 0 || float64(met) > maxStray*float64(came) {
		return fmt.Errorf("%d of %d packets have met rules: the flowtable was to take them", met, came)
	}
	return nil
}
