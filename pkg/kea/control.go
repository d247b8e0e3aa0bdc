// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Results of commands.
const (
	resultSuccess     = 0
	resultUnsupported = 2
	resultEmpty       = 3 // what was asked for is not there, such as a lease
)

// ErrUnsupported is the error of a command that the daemon does not know: that of a hook library
// which is not loaded.
var ErrUnsupported = errors.New("the daemon has no such command")

// commandTime bounds a command if its context does not: a daemon that hangs keeps its socket open.
const commandTime = 5 * time.Second

// maxReply is more than the leases of the largest network take, in bytes.
const maxReply = 256 << 20

// Control is the control socket of a daemon of Kea: a connection for each command.
type Control struct {
	// Path is that of the socket.
	Path string
}

type request struct {
	Command   string `json:"command"`
	Arguments any    `json:"arguments,omitempty"`
}

// reply is an answer. Those of the control agent, for several daemons, are lists of them.
type reply struct {
	Result    *int            `json:"result"`
	Text      string          `json:"text"`
	Arguments json.RawMessage `json:"arguments"`
}

// Command has the daemon do something and decodes the arguments of its answer into out, unless
// that is nil. What there is nothing of leaves out as it is.
func (c *Control) Command(ctx context.Context, name string, args, out any) error {
	b, err := c.exchange(ctx, request{name, args})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r, err := parseReply(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch *r.Result {
	case resultSuccess:
	case resultEmpty:
		return nil
	case resultUnsupported:
		return fmt.Errorf("%s: %w", name, ErrUnsupported)
	default:
		return fmt.Errorf("%s: %s", name, r.Text)
	}
	if out == nil || r.Arguments == nil {
		return nil
	}
	if err := json.Unmarshal(r.Arguments, out); err != nil {
		return fmt.Errorf("%s: the answer: %w", name, err)
	}
	return nil
}

// exchange sends a request and reads until the daemon hangs up.
func (c *Control) exchange(ctx context.Context, r request) ([]byte, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, commandTime)
		defer cancel()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err = json.NewEncoder(conn).Encode(r)
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(conn, maxReply+1))
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	case err != nil:
		return nil, err
	case len(b) > maxReply:
		return nil, fmt.Errorf("an answer of more than %d bytes", maxReply)
	}
	return b, nil
}

func parseReply(b []byte) (*reply, error) {
	var r reply
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	if r.Result == nil {
		return nil, errors.New("the answer has no result")
	}
	return &r, nil
}

// Status is what a daemon says of itself.
type Status struct {
	PID    int `json:"pid"`
	Uptime int `json:"uptime"` // seconds
	// Reload is the number of seconds since it has read its configuration.
	Reload  int           `json:"reload"`
	Sockets SocketsStatus `json:"sockets"`
}

// SocketsStatus tells whether it hears its clients.
type SocketsStatus struct {
	// Status is ready, retrying or failed; empty from versions that do not tell.
	Status string   `json:"status"`
	Errors []string `json:"errors"`
}

// Status asks the daemon for its status.
func (c *Control) Status(ctx context.Context) (s Status, err error) {
	return s, c.Command(ctx, "status-get", nil, &s)
}

// Version asks the daemon for its version.
func (c *Control) Version(ctx context.Context) (string, error) {
	b, err := c.exchange(ctx, request{Command: "version-get"})
	if err != nil {
		return "", err
	}
	r, err := parseReply(b)
	if err != nil {
		return "", err
	}
	return r.Text, nil
}

// Test asks whether the daemon would take a configuration; it changes nothing.
func (c *Control) Test(ctx context.Context, config json.RawMessage) error {
	return c.Command(ctx, "config-test", config, nil)
}

// Reload has the daemon read its file again. If it refuses that, it goes on as before.
func (c *Control) Reload(ctx context.Context) error {
	return c.Command(ctx, "config-reload", nil, nil)
}

// Statistics asks for all numbers, by their names, as subnet[1].assigned-addresses.
func (c *Control) Statistics(ctx context.Context) (map[string]float64, error) {
	var raw map[string]json.RawMessage
	if err := c.Command(ctx, "statistic-get-all", nil, &raw); err != nil {
		return nil, err
	}
	return parseStatistics(raw), nil
}

// parseStatistics takes the newest sample of each number, which is the first. What is no number,
// such as a duration, is left out.
func parseStatistics(raw map[string]json.RawMessage) map[string]float64 {
	out := map[string]float64{}
	for name, b := range raw {
		var samples [][]any
		if json.Unmarshal(b, &samples) != nil || len(samples) == 0 || len(samples[0]) == 0 {
			continue
		}
		if x, ok := samples[0][0].(float64); ok {
			out[name] = x
		}
	}
	return out
}
