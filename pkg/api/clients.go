// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/kea"
	"github.com/randomizedcoder/l2d/pkg/recursor"
)

// Clients are what the daemon knows of those that its services serve. What no service tells is fs.ErrNotExist.
type Clients interface {
	// Leases returns those of both families, by their addresses.
	Leases(ctx context.Context) ([]kea.Lease, error)
	// Names returns what hosts are called.
	Names(ctx context.Context) (map[netip.Addr]string, error)
	// DNSTop returns one of recursor.Tops.
	DNSTop(ctx context.Context, what string) ([]recursor.Share, error)
	// DNSFlush has the recursor forget a name and all below it, and returns what it says of that.
	DNSFlush(ctx context.Context, name string) (string, error)
}

// Flushed is what was forgotten.
type Flushed struct {
	Said string `json:"said"`
}

// clientActions are the requests about clients.
func clientActions(s Clients, handle func(pattern string, do action)) {
	handle("GET /v1/leases", func(r *http.Request) (any, error) {
		list, err := s.Leases(r.Context())
		if list == nil {
			list = []kea.Lease{} // [] and not null
		}
		return list, err
	})
	handle("GET /v1/names", func(r *http.Request) (any, error) { return s.Names(r.Context()) })
	handle("GET /v1/dns/top/{what}", func(r *http.Request) (any, error) {
		what := r.PathValue("what")
		if !slices.Contains(recursor.Tops, what) {
			return nil, BadInput(fmt.Errorf("top %q: want one of %s", what, strings.Join(recursor.Tops, ", ")))
		}
		return s.DNSTop(r.Context(), what)
	})
	handle("POST /v1/dns/flush", func(r *http.Request) (any, error) {
		name := r.URL.Query().Get("name")
		if !recursor.IsName(name) {
			return nil, BadInput(fmt.Errorf("name %q: want a domain's, or . for all", name))
		}
		said, err := s.DNSFlush(r.Context(), name)
		return Flushed{said}, err
	})
}

// Leases returns the leases of Kea.
func (c *Client) Leases(ctx context.Context) ([]kea.Lease, error) {
	var list []kea.Lease
	return list, c.call(ctx, http.MethodGet, "/v1/leases", nil, &list)
}

// Names returns what hosts are called.
func (c *Client) Names(ctx context.Context) (map[netip.Addr]string, error) {
	var names map[netip.Addr]string
	return names, c.call(ctx, http.MethodGet, "/v1/names", nil, &names)
}

// DNSTop returns what the recursor is asked most, or by whom.
func (c *Client) DNSTop(ctx context.Context, what string) ([]recursor.Share, error) {
	var list []recursor.Share
	return list, c.call(ctx, http.MethodGet, "/v1/dns/top/"+url.PathEscape(what), nil, &list)
}

// DNSFlush has the recursor forget a name and all below it.
func (c *Client) DNSFlush(ctx context.Context, name string) (Flushed, error) {
	var f Flushed
	return f, c.call(ctx, http.MethodPost, "/v1/dns/flush", url.Values{"name": {name}}, &f)
}
