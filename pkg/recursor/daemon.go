// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/prefixes"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon].
type Daemon struct{}

// New returns the daemon.
func New() *Daemon { return &Daemon{} }

// Name implements [service.Daemon].
func (*Daemon) Name() string { return "recursor" }

// Files of the directory of the service.
const (
	keysFile = "recursor.conf"
	yamlFile = "recursor.yml"
	luaFile  = "recursor.lua"
	runDir   = "run"
)

// Parameters of a unit: the directory of the control socket, the address of the web server, and the file that has its key.
const (
	socketParam = "socket"
	apiParam    = "api"
	keyParam    = "key"
)

// SocketDir is the directory of the control socket; empty if there is none.
func (d *Daemon) SocketDir(r *config.Recursor, dirs service.Dirs) string {
	if r.Mode == config.ModeWatch {
		return r.ControlDir
	}
	return filepath.Join(dirs.Of(d.Name()), runDir)
}

// Units implements [service.Daemon].
func (d *Daemon) Units(c *config.Config, dirs service.Dirs) ([]*service.Unit, error) {
	r := c.Services.Recursor
	if r == nil {
		return nil, nil
	}
	u := &service.Unit{Name: d.Name(), Daemon: d.Name(), Mode: r.Mode, Service: r.Service, Params: map[string]string{socketParam: d.SocketDir(r, dirs)}}
	var secrets []string
	apiKey := ""
	if r.API != nil {
		var err error
		if apiKey, err = key(c, r.API.Key); err != nil {
			return nil, err
		}
		secrets = []string{apiKey}
	}
	if r.Mode == config.ModeWatch {
		if r.API != nil {
			u.Params[apiParam], u.Params[keyParam] = r.API.Listen.String(), filepath.Join(dirs.Of(d.Name()), "api-key")
			u.Files = []service.File{{Path: u.Params[keyParam], Content: []byte(apiKey), Mode: 0o400, Secrets: secrets}}
		}
		return []*service.Unit{u}, nil
	}
	server := webServer{apiKey, r.Allow}
	if r.AllowDelegated {
		list, err := prefixes.Delegated(c.Network.LAN)
		if err != nil {
			e := r.At(c.Path)
			e.Problem = err.Error()
			return nil, e
		}
		more := *r
		more.Allow = slices.Concat(r.Allow, list)
		r = &more
		// What follows from somebody else's change needs nobody to apply it.
		u.Enforce = true
	}
	dir := dirs.Of(d.Name())
	p := paths{run: u.Params[socketParam], lua: filepath.Join(dir, luaFile)}
	file := func(name string, content []byte, secrets []string) {
		u.Files = append(u.Files, service.File{Path: filepath.Join(dir, name), Content: content, Mode: 0o400, Owner: r.User, Secrets: secrets})
	}
	file(yamlFile, renderYAML(r, p, server), secrets)
	file(keysFile, renderKeys(keys(r, p, server)), secrets)
	file(luaFile, renderLua(r), nil)
	u.Argv = []string{service.Program(&r.Service, "pdns_recursor"), "--config-dir=" + dir}
	u.User = r.User
	u.Caps = []string{"CAP_NET_BIND_SERVICE"}
	u.Dirs = []service.Dir{{Path: dir, Mode: 0o755}, {Path: p.run, Mode: 0o755, Owner: r.User}}
	u.Sandbox = service.Sandbox{Families: []string{"AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"}, JIT: true}
	return []*service.Unit{u}, nil
}

// key reads the key of the API, which stands in both files as it is.
func key(c *config.Config, s *config.Secret) (string, error) {
	text, err := service.Secret(c, s)
	if err != nil {
		return "", err
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/=_-", r)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) || len(text) < 8 {
		e := s.At(c.Path)
		e.Value, e.Problem, e.Want = s.String(), "is no key", "at least 8 letters, digits, and + / = _ -"
		return "", e
	}
	return text, nil
}

// Check implements [service.Daemon]. The file for version 4 names another one, which is staged, too.
func (*Daemon) Check(ctx context.Context, u *service.Unit, staged string) error {
	dir := filepath.Dir(u.Files[0].Path)
	stagedDir := service.At(staged, dir)
	for i := range u.Files {
		f := &u.Files[i]
		content := bytes.ReplaceAll(f.Content, []byte(dir+"/"), []byte(stagedDir+"/"))
		if err := os.WriteFile(service.At(staged, f.Path), content, 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(stagedDir, runDir), 0o700); err != nil {
		return err
	}
	_, err := service.Run(ctx, u.Argv[0], "--config-dir="+stagedDir, "--config=check")
	return err
}

// Effect implements [service.Daemon]: what it reads again while it runs are zones, who may ask,
// and trust anchors.
func (*Daemon) Effect(old, u *service.Unit) service.Effect {
	const settings = 1 // of the unit's files
	if len(old.Files) != len(u.Files) {
		return restart
	}
	before, after := parseKeys(old.Files[settings].Content), parseKeys(u.Files[settings].Content)
	for key, value := range after {
		if before[key] != value && !slices.Contains([]string{allowKey, forwardKey, recurseKey}, key) {
			return restart
		}
	}
	if len(before) != len(after) {
		return restart
	}
	return service.Effect{Action: service.Reload, Why: "names of the zones that changed are asked for again"}
}

var restart = service.Effect{Action: service.Restart, Disruptive: true, Why: "no names are resolved for a moment, and it begins with an empty cache"}

// Reload implements [service.Daemon].
func (*Daemon) Reload(ctx context.Context, u *service.Unit, _ func(string) error) error {
	return NewControl(&u.Service, u.Params[socketParam]).Reload(ctx)
}

// Health implements [service.Daemon].
func (*Daemon) Health(ctx context.Context, u *service.Unit, _ service.Process) (service.Health, error) {
	if u.Params[socketParam] == "" && u.Params[apiParam] == "" {
		return service.Health{Detail: "watched without control_dir or api"}, nil
	}
	c, err := ClientOf(u)
	if err != nil {
		return service.Health{}, err
	}
	if err := c.Ping(ctx); err != nil {
		return service.Health{}, err
	}
	version, err := c.Version(ctx)
	if err != nil {
		return service.Health{}, err
	}
	stats, err := c.Statistics(ctx)
	if err != nil {
		return service.Health{}, err
	}
	return service.Health{Detail: fmt.Sprintf("%d questions, %d failed, %d bogus", stats["questions"], stats["servfail-answers"], stats["dnssec-result-bogus"]), Version: version}, nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
