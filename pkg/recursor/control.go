// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Control asks a recursor by rec_control, its own program for that: what is spoken on the socket
// is another thing with each version.
type Control struct {
	program string
	dir     string
}

// NewControl returns the client of a recursor whose control socket is in a directory. Where the service
// has a program of its own, rec_control is expected beside it.
func NewControl(s *config.Service, dir string) *Control {
	own := config.Service{}
	if s.Binary != "" {
		if beside := filepath.Join(filepath.Dir(s.Binary), "rec_control"); isThere(beside) {
			own.Binary = beside
		}
	}
	return &Control{service.Program(&own, "rec_control"), dir}
}

// commandTime bounds a command if its context does not.
const commandTime = 5 * time.Second

func (c *Control) run(ctx context.Context, args ...string) (string, error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, commandTime)
		defer cancel()
	}
	// Without a configuration it has no other socket in mind.
	out, err := service.Run(ctx, append([]string{c.program, "--config-dir=" + c.dir, "--socket-dir=" + c.dir}, args...)...)
	if err != nil {
		return "", fmt.Errorf("rec_control %s: %w", args[0], err)
	}
	return out, nil
}

// Ping asks for a sign of life: of each of its threads, from version 5 on.
func (c *Control) Ping(ctx context.Context) error {
	out, err := c.run(ctx, "ping")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "pong") {
			return fmt.Errorf("rec_control ping: %s", strings.TrimSpace(line))
		}
	}
	return nil
}

// Version asks for the version, such as 5.2.13.
func (c *Control) Version(ctx context.Context) (string, error) { return c.run(ctx, "version") }

// Reload has it read its zones, its access list and its trust anchors again.
func (c *Control) Reload(ctx context.Context) error {
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	rest := "reload-yaml"
	if strings.HasPrefix(version, "4.") {
		rest = "reload-lua-config"
	}
	for _, command := range []string{rest, "reload-acls", "reload-zones"} {
		out, err := c.run(ctx, command)
		if err != nil {
			return err
		}
		if out != "ok" && !strings.HasPrefix(out, "Reloaded") {
			return fmt.Errorf("%s: %s", command, out)
		}
	}
	return nil
}

// Statistics returns all numbers by their names, such as cache-hits.
func (c *Control) Statistics(ctx context.Context) (map[string]uint64, error) {
	out, err := c.run(ctx, "get-all")
	if err != nil {
		return nil, err
	}
	return parseStatistics(out), nil
}

// parseStatistics reads lines of a name, a tabulator and a number.
func parseStatistics(text string) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
			out[name] = n
		}
	}
	return out
}

// Flush forgets what it knows of a name and all below it; the root is everything. It returns
// what it says that it has forgotten.
func (c *Control) Flush(ctx context.Context, name string) (string, error) {
	return c.run(ctx, "wipe-cache", strings.TrimSuffix(name, ".")+"$")
}

// IsName tells a name that can be flushed.
func IsName(s string) bool {
	return s == "." || config.IsZone(strings.ToLower(strings.TrimSuffix(s, ".")))
}

// Share is one of those that it is asked most about, or asked by.
type Share struct {
	// Percent of the queries that it remembers.
	Percent float64 `json:"percent"`
	// Name is that of a query, or the address of a client.
	Name string `json:"name"`
	// Type is that of a query.
	Type string `json:"type,omitempty"`
}

// Tops are what there are lists of.
var Tops = []string{"queries", "remotes", "servfail-queries", "servfail-remotes", "bogus-queries", "bogus-remotes", "largeanswer-remotes", "timeouts"}

// Top returns one of [Tops], the most frequent first.
func (c *Control) Top(ctx context.Context, what string) ([]Share, error) {
	out, err := c.run(ctx, "top-"+what)
	if err != nil {
		return nil, err
	}
	return parseTop(out)
}

// nothingYet is what it says of an empty list.
const nothingYet = "No qualifying data available"

// parseTop reads lines of a share and what it is of. Clients choose the names: what would not be printed as it is, is
// escaped.
func parseTop(text string) ([]Share, error) {
	list := []Share{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "Over last") || strings.HasPrefix(line, nothingYet) {
			continue
		}
		percent, name, ok := strings.Cut(line, "%")
		x, err := strconv.ParseFloat(percent, 64)
		if !ok || err != nil || x < 0 || x > 100 {
			return nil, errors.New("not a list of shares: " + strconv.Quote(line))
		}
		s := Share{Percent: x, Name: strings.TrimSpace(name)}
		if s.Name == "rest" {
			continue
		}
		if i := strings.LastIndexByte(s.Name, '|'); i >= 0 {
			s.Name, s.Type = s.Name[:i], s.Name[i+1:]
		}
		s.Name, s.Type = printable(s.Name), printable(s.Type)
		list = append(list, s)
	}
	return list, nil
}

func printable(s string) string {
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
