// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// Client asks a recursor.
type Client interface {
	// Ping asks for a sign of life.
	Ping(ctx context.Context) error
	// Version asks for the version, such as 5.2.13.
	Version(ctx context.Context) (string, error)
	// Statistics returns all numbers by their names, such as cache-hits.
	Statistics(ctx context.Context) (map[string]uint64, error)
	// Top returns one of [Tops], the most frequent first.
	Top(ctx context.Context, what string) ([]Share, error)
	// Flush forgets what it knows of a name and all below it, and returns what it says of that.
	Flush(ctx context.Context, name string) (string, error)
}

// ClientOf returns the client of a unit: of its control socket or, where somebody else runs it and l2d is not told of
// that, of its web server.
func ClientOf(u *service.Unit) (Client, error) {
	if dir := u.Params[socketParam]; dir != "" {
		return NewControl(&u.Service, dir), nil
	}
	address, err := netip.ParseAddrPort(u.Params[apiParam])
	f := u.File(u.Params[keyParam])
	if err != nil || f == nil {
		return nil, errors.New("has neither control_dir nor api: it cannot be asked")
	}
	return NewREST(address, string(f.Content)), nil
}

// REST asks a recursor by its web server.
type REST struct {
	base, key string
}

// NewREST returns the client of a web server that wants a key.
func NewREST(address netip.AddrPort, key string) *REST {
	return &REST{base: "http://" + address.String() + "/api/v1/servers/localhost", key: key}
}

// web asks the address itself, whatever proxy l2d was started with.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// maxAnswer bounds what is read of an answer: 4.8 has 60 kB of statistics.
const maxAnswer = 4 << 20

// call asks for something below the server, and reads the answer into out.
func (c *REST) call(ctx context.Context, method, what string, out any) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, commandTime)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+what, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", c.key)
	res, err := web.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s%s: %w", c.base, what, err)
	}
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: refuses the key: want that of services.recursor.api to be its api-key", c.base)
	default:
		return fmt.Errorf("%s%s: %s", c.base, what, res.Status)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s%s: %w", c.base, what, err)
	}
	return nil
}

// Ping implements [Client].
func (c *REST) Ping(ctx context.Context) error {
	_, err := c.Version(ctx)
	return err
}

// Version implements [Client].
func (c *REST) Version(ctx context.Context) (string, error) {
	var server struct {
		DaemonType string `json:"daemon_type"`
		Version    string `json:"version"`
	}
	if err := c.call(ctx, http.MethodGet, "", &server); err != nil {
		return "", err
	}
	if server.DaemonType != "recursor" {
		return "", fmt.Errorf("%s: is of a daemon of type %q: want recursor", c.base, server.DaemonType)
	}
	return printable(server.Version), nil
}

// Statistics implements [Client].
func (c *REST) Statistics(ctx context.Context) (map[string]uint64, error) {
	var list []statistic
	if err := c.call(ctx, http.MethodGet, "/statistics", &list); err != nil {
		return nil, err
	}
	return readStatistics(list), nil
}

// statistic is a number, or a list of some, which has another type.
type statistic struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

func readStatistics(list []statistic) map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range list {
		var text string
		if json.Unmarshal(s.Value, &text) != nil {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			out[s.Name] = n
		}
	}
	return out
}

// Top implements [Client]: the web server has no such lists.
func (*REST) Top(context.Context, string) ([]Share, error) {
	return nil, errors.New("services.recursor has no control_dir: what is asked most the API does not tell")
}

// Flush implements [Client].
func (c *REST) Flush(ctx context.Context, name string) (string, error) {
	var flushed struct {
		Count  uint64 `json:"count"`
		Result string `json:"result"`
	}
	q := url.Values{"domain": {strings.TrimSuffix(name, ".") + "."}, "subtree": {"true"}}
	if err := c.call(ctx, http.MethodPut, "/cache/flush?"+q.Encode(), &flushed); err != nil {
		return "", err
	}
	return fmt.Sprintf("wiped %d records", flushed.Count), nil
}
