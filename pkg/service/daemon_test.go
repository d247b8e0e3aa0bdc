// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/pkg/config"
)

// The test's binary is a daemon, too: one that can be told to misbehave.
const beDaemon = "be-daemon"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == beDaemon {
		daemonMain(os.Args[2])
		return
	}
	ownns.Main(m)
}

// daemonMain runs what is in a file: it notes beside it what it has read, for its health. Words in the file
// have it end, not read it again, or be ill. It has a child that outlives it.
func daemonMain(path string) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	if err := exec.Command("sleep", "1000").Start(); err != nil {
		panic(err)
	}
	for first := true; ; first = false {
		b, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(b), "crash") {
			fmt.Println("crashing")
			os.Exit(3)
		}
		if first || !strings.Contains(string(b), "deaf") {
			fmt.Println("has read its file")
			// The health of another process is not this one's.
			if err := errors.Join(os.WriteFile(path+".loaded", b, 0o600), os.WriteFile(path+".pid", []byte(strconv.Itoa(os.Getpid())), 0o600)); err != nil {
				panic(err)
			}
		}
		<-hup
	}
}

// testDaemon is its [Daemon]. What a configuration declares is in units.
type testDaemon struct {
	units []*Unit
	err   error
	// version is what its checker says of it; checks is how often that was asked.
	version error
	checks  int
	// expect is called when it is to wait for something.
	expect func(*Unit)
}

func (*testDaemon) Name() string { return "test" }

func (d *testDaemon) Units(*config.Config, Dirs) ([]*Unit, error) {
	var out []*Unit
	for _, u := range d.units {
		c := *u
		c.Files = append([]File(nil), u.Files...)
		out = append(out, &c)
	}
	return out, d.err
}

func (d *testDaemon) Check(_ context.Context, u *Unit, staged string) error {
	if d.checks++; d.version != nil {
		return d.version
	}
	b, err := os.ReadFile(At(staged, u.Files[0].Path))
	if err == nil && strings.Contains(string(b), "nonsense") {
		err = fmt.Errorf("line 1: %s", b)
	}
	return err
}

func (d *testDaemon) Expect(_ context.Context, u *Unit) {
	if d.expect != nil {
		d.expect(u)
	}
}

func (*testDaemon) Effect(_, _ *Unit) Effect { return Effect{Action: Reload} }

func (d *testDaemon) Reload(ctx context.Context, u *Unit, signal func(string) error) error {
	if err := signal("SIGHUP"); err != nil {
		return err
	}
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if d.loaded(u) == string(u.Files[0].Content) {
			return nil
		}
	}
	return ctx.Err()
}

func (*testDaemon) loaded(u *Unit) string {
	b, _ := os.ReadFile(u.Files[0].Path + ".loaded") // nothing, if it is not there
	return string(b)
}

func (d *testDaemon) Health(_ context.Context, u *Unit, p Process) (Health, error) {
	if pid, _ := os.ReadFile(u.Files[0].Path + ".pid"); u.Mode != config.ModeWatch && string(pid) != strconv.Itoa(p.PID) { // nothing, if it is not there
		return Health{}, errors.New("has not read its file")
	}
	l := d.loaded(u)
	if !strings.Contains(l, "good") {
		return Health{}, errors.New("is ill")
	}
	return Health{Detail: strings.Fields(l)[0]}, nil
}

// unit is a service of the test's daemon.
func testUnit(dirs Dirs, name, text string) *Unit {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	dir := dirs.Of(name)
	file := filepath.Join(dir, "test.conf")
	return &Unit{
		Name: name, Daemon: "test", Mode: config.ModeChild, Service: config.Service{Restart: config.RestartAlways},
		Files: []File{{Path: file, Content: []byte(text + "\n"), Mode: 0o600}}, Argv: []string{self, beDaemon, file},
		Dirs: []Dir{{Path: dir, Mode: 0o755}}, Sandbox: Sandbox{HostTmp: true}, Patience: 20 * time.Second,
	}
}
