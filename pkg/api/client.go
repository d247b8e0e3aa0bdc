// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/observe"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
)

// ErrNotRunning is returned when no daemon listens on the socket.
var ErrNotRunning = errors.New("no l2d is running")

// Client talks to a daemon.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the daemon that listens on socket. It connects
// when it is used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket, &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

// Status returns the daemon's status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Sample returns what there is to see of the router at this moment.
func (c *Client) Sample(ctx context.Context) (*observe.Sample, error) {
	var s observe.Sample
	return &s, c.call(ctx, http.MethodGet, "/v1/sample", nil, &s)
}

// Rules returns the ruleset in force with its counts.
func (c *Client) Rules(ctx context.Context) (Rules, error) {
	var r Rules
	return r, c.call(ctx, http.MethodGet, "/v1/rules", nil, &r)
}

// Flows calls yield with each flow that passes the filter, until yield returns
// an error.
func (c *Client) Flows(ctx context.Context, f flow.Filter, yield func(flow.Flow) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/flows", query(f))
	if err != nil {
		return err
	}
	return eachOf(body, "list of flows", yield)
}

// FlowEvents calls yield with the events of some kinds, of flows that pass the
// filter, until yield returns an error, ctx ends or the daemon does. Ready is
// called when the daemon listens; it may be nil.
func (c *Client) FlowEvents(ctx context.Context, f flow.Filter, kinds flow.Kind, ready func(), yield func(flow.Event) error) error {
	q := query(f)
	q.Set("event", kinds.String())
	body, err := c.do(ctx, http.MethodGet, "/v1/flows/events", q)
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	return eachOf(body, "events of flows", yield)
}

// eachOf calls yield with each of the values of a body, which it closes.
func eachOf[T any](body io.ReadCloser, what string, yield func(T) error) error {
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var v T
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := yield(v); err != nil {
			return err
		}
	}
}

// CountFlows returns how many flows pass the filter.
func (c *Client) CountFlows(ctx context.Context, f flow.Filter) (int, error) {
	var n Count
	return n.Flows, c.call(ctx, http.MethodGet, "/v1/flows/count", query(f), &n)
}

// DeleteFlows ends the flows that pass the filter, and returns how many were
// living. A filter that selects all is refused, unless all is true; another one
// is refused if all is true.
func (c *Client) DeleteFlows(ctx context.Context, f flow.Filter, all bool) (int, error) {
	q := query(f)
	if all {
		q.Set("all", "true")
	}
	var d DeletedFlows
	err := c.call(ctx, http.MethodDelete, "/v1/flows", q, &d)
	return d.Deleted, err
}

// SetList returns the elements of a set.
func (c *Client) SetList(ctx context.Context, s SetName) ([]Element, error) {
	var list []Element
	return list, c.call(ctx, http.MethodGet, s.path(), nil, &list)
}

// SetAdd adds an element to a set, or renews it. A timeout of 0 is the set's
// own.
func (c *Client) SetAdd(ctx context.Context, s SetName, element string, timeout time.Duration) error {
	q := url.Values{}
	if timeout != 0 {
		q.Set("timeout", timeout.String())
	}
	return c.call(ctx, http.MethodPut, s.path()+"/"+url.PathEscape(element), q, nil)
}

// SetDelete removes an element from a set.
func (c *Client) SetDelete(ctx context.Context, s SetName, element string) error {
	return c.call(ctx, http.MethodDelete, s.path()+"/"+url.PathEscape(element), nil, nil)
}

// HostPlan compares the host with what the daemon's file declares now.
func (c *Client) HostPlan(ctx context.Context) (*reconcile.Plan, error) {
	p := &reconcile.Plan{}
	return p, c.call(ctx, http.MethodGet, "/v1/host/plan", nil, p)
}

// HostApply brings the host into that state, or into that of a revision.
func (c *Client) HostApply(ctx context.Context, o HostOptions) (HostApplied, error) {
	q := url.Values{}
	if o.Confirm != 0 {
		q.Set("confirm", o.Confirm.String())
	}
	if o.Revision != 0 {
		q.Set("revision", fmt.Sprint(o.Revision))
	}
	if o.Runtime {
		q.Set("runtime", "true")
	}
	if o.Comment != "" {
		q.Set("comment", o.Comment)
	}
	var a HostApplied
	return a, c.call(ctx, http.MethodPost, "/v1/host/apply", q, &a)
}

// HostRevisions returns what was applied, the newest first.
func (c *Client) HostRevisions(ctx context.Context) ([]revision.Summary, error) {
	var list []revision.Summary
	return list, c.call(ctx, http.MethodGet, "/v1/host/revisions", nil, &list)
}

// HostRevision returns one of them with its files.
func (c *Client) HostRevision(ctx context.Context, n int) (*revision.Revision, error) {
	r := new(revision.Revision)
	return r, c.call(ctx, http.MethodGet, "/v1/host/revisions/"+strconv.Itoa(n), nil, r)
}

// HostConfirm makes a change of the host final.
func (c *Client) HostConfirm(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/v1/host/confirm/"+url.PathEscape(id), nil, nil)
}

// HostRollback undoes a change of the host that is not final.
func (c *Client) HostRollback(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/v1/host/rollback/"+url.PathEscape(id), nil, nil)
}

// Reload has the daemon read its files again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var r Reloaded
	return r, c.call(ctx, http.MethodPost, "/v1/reload", nil, &r)
}

// Detach has the daemon remove its dataplane.
func (c *Client) Detach(ctx context.Context, fallback bool) (Detached, error) {
	var d Detached
	return d, c.call(ctx, http.MethodPost, "/v1/detach", url.Values{"fallback": {fmt.Sprint(fallback)}}, &d)
}

// call makes a request and decodes the answer into v, if v is not nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, v any) error {
	body, err := c.do(ctx, method, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("answer of the daemon: %w", err)
	}
	return nil
}

// do makes a request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, query url.Values) (io.ReadCloser, error) {
	return c.send(ctx, method, path, query, nil)
}

// send is do of a request with a body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, request io.Reader) (io.ReadCloser, error) {
	u := "http://l2d" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, request)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the socket %s is for root only", c.socket)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("talk to l2d: %w", err)
	}
	if res.StatusCode < 400 {
		return res.Body, nil
	}
	defer res.Body.Close()
	e := &Error{Status: res.StatusCode}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("talk to l2d: %w", err)
	}
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s: %s", res.Status, text)
	}
	return nil, e
}

// path is the resource of a set.
func (s SetName) path() string {
	return "/v1/sets/" + url.PathEscape(s.Family) + "/" + url.PathEscape(s.Table) + "/" + url.PathEscape(s.Set)
}
