// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/wifi"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// RegdomKind is the name of [Regdom], and regdomName that of its only resource.
const (
	RegdomKind = "regdom"
	regdomName = "country"
)

// Regdom is the kind of the country that the kernel's rules for radios are of. It is the
// machine's, and of no network namespace.
type Regdom struct{}

// Name implements [reconcile.Kind].
func (Regdom) Name() string { return RegdomKind }

// Check implements [reconcile.Kind].
func (k Regdom) Check(ctx context.Context, r *reconcile.Resource) []reconcile.Problem {
	_, err := k.Observe(ctx, r.Name, r.Want.Keys())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []reconcile.Problem{{Resource: r, Problem: "this kernel has no radio", Skip: true}}
	case err != nil:
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (Regdom) Observe(context.Context, string, []string) (reconcile.State, error) {
	c, err := wifi.New()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	return regdomState(c)
}

func regdomState(c *wifi.Client) (reconcile.State, error) {
	d, err := c.GetRegulatoryDomain()
	if err != nil {
		return nil, fmt.Errorf("country of radios: %w", err)
	}
	return reconcile.State{valueKey: d.Region}, nil
}

// Same implements [reconcile.Kind].
func (Regdom) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (Regdom) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace, Why: "radios leave channels that the country does not allow"}
}

// Before implements [reconcile.Kind].
func (k Regdom) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// regdomPatience is how long the kernel may take to read the rules of a country.
const regdomPatience = 5 * time.Second

// Set implements [reconcile.Kind]. The kernel takes it as a hint, and says nothing if it does not follow.
func (Regdom) Set(ctx context.Context, _ string, to reconcile.State) error {
	c, err := wifi.New()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetRegulatoryRegion(to[valueKey], wifi.RegulatoryHintUser); err != nil {
		return fmt.Errorf("country of radios: %w", err)
	}
	for end := time.Now().Add(regdomPatience); ; {
		is, err := regdomState(c)
		if err != nil || is[valueKey] == to[valueKey] {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("country of radios: the kernel stays with %s: it has no rules for %s (wireless-regdb, regulatory.db), or a radio that has its own", is[valueKey], to[valueKey])
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// regdomResource is the country of the access points, which have to find it set.
func regdomResource(c *config.Config) []reconcile.Resource {
	h := c.Services.Hostapd
	if h == nil || h.Country == "" {
		return nil
	}
	at := h.At(c.Path)
	return []reconcile.Resource{{
		Kind: RegdomKind, Name: regdomName, Want: reconcile.State{valueKey: h.Country}, Rank: nicRank,
		At: reconcile.PlaceOf(at),
	}}
}
