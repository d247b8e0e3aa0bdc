// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon] of a family.
type Daemon struct{ family int }

// New returns the daemon of a family, 4 or 6.
func New(family int) *Daemon { return &Daemon{family} }

// Name implements [service.Daemon]. It is the program's, too.
func (d *Daemon) Name() string { return fmt.Sprint("kea-dhcp", d.family) }

// Parameters of a unit.
const (
	socketParam = "socket"
	leasesParam = "leases"
	linkParam   = "interface"
)

// of is what the configuration says of it; nil for nothing.
func (d *Daemon) of(c *config.Config) *config.Kea {
	if d.family == 4 {
		return c.Services.KeaDHCP4
	}
	return c.Services.KeaDHCP6
}

// runDir is where the process has its socket and its locks. Versions from 2.6.3 on want nobody else
// to enter it.
func (d *Daemon) runDir(dirs service.Dirs) string { return filepath.Join(dirs.Of(d.Name()), "run") }

// Socket is the path of the control socket; empty if there is none.
func (d *Daemon) Socket(k *config.Kea, dirs service.Dirs) string {
	if k.Mode == config.ModeWatch {
		return k.ControlSocket
	}
	return filepath.Join(d.runDir(dirs), "control")
}

// Units implements [service.Daemon].
func (d *Daemon) Units(c *config.Config, dirs service.Dirs) ([]*service.Unit, error) {
	k := d.of(c)
	if k == nil {
		return nil, nil
	}
	u := &service.Unit{
		Name: d.Name(), Daemon: d.Name(), Mode: k.Mode, Service: k.Service,
		Params: map[string]string{socketParam: d.Socket(k, dirs), leasesParam: k.LeaseFile},
	}
	if k.Mode == config.ModeWatch {
		return []*service.Unit{u}, nil
	}
	dir, run := dirs.Of(d.Name()), d.runDir(dirs)
	file := filepath.Join(dir, d.Name()+".conf")
	data := filepath.Dir(k.LeaseFile)
	u.Params[linkParam] = c.Network.LAN.Interface
	list, err := delegations(k, c.Network.LAN)
	if err != nil {
		e := k.At(c.Path)
		e.Problem = err.Error()
		return nil, e
	}
	u.Files = []service.File{{Path: file, Content: render(k, c.Network.LAN, list, u.Params[socketParam]), Mode: 0o644}}
	// What follows from somebody else's change needs nobody to apply it.
	u.Enforce = k.Delegated != nil
	u.Argv = []string{service.Program(&k.Service, d.Name()), "-c", file}
	u.Env = environment(k, run)
	u.User = k.User
	u.Caps = []string{"CAP_NET_BIND_SERVICE", "CAP_NET_RAW"}
	u.Dirs = []service.Dir{{Path: dir, Mode: 0o755}, {Path: run, Mode: 0o750, Owner: k.User}, {Path: data, Mode: 0o750, Owner: k.User}}
	u.Sandbox = service.Sandbox{Families: []string{"AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_UNIX"}}
	return []*service.Unit{u}, nil
}

// environment tells the directories, of which later versions let a configuration use no others.
func environment(k *config.Kea, run string) []string {
	env := []string{
		"KEA_PIDFILE_DIR=" + run, "KEA_LOCKFILE_DIR=" + run, "KEA_CONTROL_SOCKET_DIR=" + run,
		"KEA_DHCP_DATA_DIR=" + filepath.Dir(k.LeaseFile),
	}
	if k.LeaseHook != "" {
		env = append(env, "KEA_HOOKS_PATH="+filepath.Dir(k.LeaseHook))
	}
	return env
}

// Check implements [service.Daemon]. The directories that are looked at are staged ones, as the real
// ones need not be there yet. Nor need the interface, which may be made by the same change; lo stands for it.
func (d *Daemon) Check(ctx context.Context, u *service.Unit, staged string) error {
	run := filepath.Dir(u.Params[socketParam])
	stagedRun := service.At(staged, run)
	if err := os.MkdirAll(stagedRun, 0o700); err != nil {
		return err
	}
	file := service.At(staged, u.Files[0].Path)
	content := bytes.ReplaceAll(u.Files[0].Content, []byte(run), []byte(stagedRun))
	content = bytes.ReplaceAll(content, dataDirectory(filepath.Dir(u.Params[leasesParam])), dataDirectory(stagedRun))
	if link := u.Params[linkParam]; !linkExists(link) {
		content = bytes.ReplaceAll(content, strconv.AppendQuote(nil, link), []byte(`"lo"`))
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	argv := []string{"/usr/bin/env"}
	for _, e := range u.Env {
		argv = append(argv, strings.ReplaceAll(e, run, stagedRun))
	}
	_, err := service.Run(ctx, append(argv, u.Argv[0], "-t", file)...)
	if err == nil {
		return nil
	}
	return explain(d.Name(), err)
}

// noLeases begins what Kea says of a lease file that is none.
const noLeases = "Unable to open database: "

// Why implements [service.Explainer]. Which file it does not understand Kea does not tell.
func (*Daemon) Why(u *service.Unit, lines []string) string {
	for _, line := range slices.Backward(lines) {
		if _, problem, ok := strings.Cut(line, noLeases); ok {
			return fmt.Sprintf("%s: want Kea's leases, such as a copy of them, or no such file: %s", u.Params[leasesParam], problem)
		}
	}
	return lines[len(lines)-1]
}

// dataDirectory is how a configuration names the directory of the server's own data.
func dataDirectory(dir string) []byte {
	return fmt.Appendf(nil, `"%s": %q`, dataKey, dir)
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// explain names the cause of an error that says less than it could.
func explain(name string, err error) error {
	text := complaints(err.Error())
	b, _ := os.ReadFile("/sys/kernel/security/apparmor/profiles") // none without AppArmor
	if strings.Contains(string(b), name+" (enforce)") && strings.Contains(strings.ToLower(text), "permission denied") {
		text += "\nAppArmor confines " + name + " to its own files: docs/configuration.md has the lines that its profile needs"
	}
	return errors.New(text)
}

// complaints are the lines of what a daemon has said that are more than progress.
func complaints(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, " INFO ") && !strings.Contains(line, " DEBUG ") {
			out = append(out, line)
		}
	}
	if out == nil {
		return text
	}
	return strings.Join(out, "\n")
}

// Effect implements [service.Daemon]: no lease ends by a reload.
func (*Daemon) Effect(_, _ *service.Unit) service.Effect {
	return service.Effect{Action: service.Reload}
}

// Reload implements [service.Daemon].
func (*Daemon) Reload(ctx context.Context, u *service.Unit, _ func(string) error) error {
	return (&Control{Path: u.Params[socketParam]}).Reload(ctx)
}

// leastSpace is what there has to be on the disk for leases, in bytes: a server that cannot write one down
// does not give it.
const leastSpace = 64 << 10

// Health implements [service.Daemon].
func (d *Daemon) Health(ctx context.Context, u *service.Unit, _ service.Process) (service.Health, error) {
	c := &Control{Path: u.Params[socketParam]}
	if c.Path == "" {
		return service.Health{Detail: "watched without a control socket"}, nil
	}
	s, err := c.Status(ctx)
	if err != nil {
		return service.Health{}, err
	}
	// What is still being tried may succeed, and does not serve until then.
	if s.Sockets.Status != "" && s.Sockets.Status != "ready" {
		return service.Health{}, fmt.Errorf("hears no client: %s", strings.Join(s.Sockets.Errors, "; "))
	}
	if err := space(filepath.Dir(u.Params[leasesParam])); err != nil {
		return service.Health{}, err
	}
	stats, err := c.Statistics(ctx)
	if err != nil {
		return service.Health{}, err
	}
	version, err := c.Version(ctx)
	if err != nil {
		return service.Health{}, err
	}
	use := UseOf(d.family, stats)
	return service.Health{Detail: fmt.Sprintf("%.0f of %.0f addresses", use.Assigned, use.Total), Version: version}, nil
}

func space(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil // it says so itself
	}
	if st.Bavail*uint64(st.Bsize) < leastSpace {
		return fmt.Errorf("%s is full: no lease can be written down", dir)
	}
	return nil
}
