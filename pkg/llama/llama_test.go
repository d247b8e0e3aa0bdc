// SPDX-License-Identifier: GPL-2.0-only

package llama_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/internal/tinyllama"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

func TestMain(m *testing.M) { ownns.Main(m) }

// server returns a program that is the real server, and a directory that it sees.
func server(t *testing.T) (program, dir string) {
	t.Helper()
	dir = t.TempDir()
	return serverIn(t, dir), dir
}

// serverIn is the program, which sees a directory, and what is mounted there.
func serverIn(t *testing.T, dir string) string {
	t.Helper()
	servicetest.Need(t)
	program, undo, err := tinyllama.Install(dir)
	if errors.Is(err, tinyllama.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	})
	return program
}

// tinyModel writes a model.
func tinyModel(t *testing.T, path string) {
	t.Helper()
	if err := tinyllama.WriteModel(path); err != nil {
		t.Fatal(err)
	}
}

// host is an engine with services.
type host struct {
	m *service.Manager
	e *reconcile.Engine
}

func newHost(t *testing.T, dir string) *host {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	m := service.New([]service.Daemon{llama.New()}, service.Dirs{Run: filepath.Join(dir, "run")}, filepath.Join(dir, "state"), log)
	h := &host{m: m, e: reconcile.New(filepath.Join(dir, "engine"), log, m, m.Slices)}
	t.Cleanup(func() {
		if err := h.apply(t, ""); err != nil {
			t.Error(err)
		}
	})
	return h
}

// apply has instances run: the value of services.llama.
func (h *host) apply(t *testing.T, instances string) error {
	t.Helper()
	text := "dataplane: {ruleset: x, interfaces: [{name: eth0}]}\n"
	if instances != "" {
		text += "services: {llama: [" + instances + "]}\n"
	}
	c, err := config.Parse("l2d.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	list, err := h.m.Declare(c)
	if err != nil {
		return err
	}
	p, err := h.e.Plan(context.Background(), list)
	if err == nil {
		_, err = h.e.Apply(context.Background(), p, reconcile.Options{})
	}
	return err
}

func (h *host) status(t *testing.T) service.Status {
	t.Helper()
	list := h.m.Statuses(t.Context())
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	return list[0]
}

// TestServer: the real server answers with a model that has a few thousand numbers, goes on when its process is killed,
// and is as it was when it does not come up with another port.
func TestServer(t *testing.T) {
	program, dir := server(t)
	model, key := filepath.Join(dir, "tiny.gguf"), filepath.Join(dir, "key")
	tinyModel(t, model)
	if err := os.WriteFile(key, []byte("a key of clients\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	instance := func(port int, more string) string {
		return fmt.Sprintf("{name: tiny, mode: child, user: root, binary: %s, model: %s, listen: '127.0.0.1:%d', context: 128, parallel: 1, threads: 1, flash_attention: on, api_key: %s, start_timeout: 60s%s}",
			program, model, port, key, more)
	}
	h := newHost(t, dir)
	if err := h.apply(t, instance(8090, "")); err != nil {
		t.Fatal(err)
	}
	s := h.status(t)
	if s.Error != "" || !strings.HasPrefix(s.Detail, "tiny.gguf") || s.Version == "" {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := llama.Ask(ctx, h.m.UnitsOf(llama.Name)[0], "what is the answer", 8)
	if err != nil || a.Text == "" || a.Tokens == 0 || strings.Trim(a.Text, "abcdefghijklmnopqrstuvwxyz") != "" {
		t.Errorf("%+v, %v", a, err)
	}
	stats, err := llama.StatisticsOf(ctx, h.m.UnitsOf(llama.Name)[0])
	if err != nil || stats["tokens_predicted_total"] < float64(a.Tokens-1) || stats["prompt_tokens_total"] == 0 {
		t.Errorf("statistics: %v, %v; the answer has %d tokens", stats, err, a.Tokens)
	}
	if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID)); err != nil || strings.Contains(string(args), "key of clients") {
		t.Errorf("%q, %v", args, err)
	}
	// Somebody else's, with a key: it is in no file of l2d's.
	c, err := config.Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: eth0}]}\nservices:\n  llama: ["+strings.Replace(instance(8090, ""), "mode: child", "mode: watch", 1)+"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	watched, err := llama.New().Units(c, service.Dirs{Run: dir + "/other"})
	if err != nil || len(watched) != 1 {
		t.Fatal(watched, err)
	}
	if stats, err := llama.StatisticsOf(ctx, watched[0]); err != nil || stats["prompt_tokens_total"] == 0 {
		t.Errorf("one that is watched: %v, %v", stats, err)
	}

	if err := unix.Kill(s.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		now := h.status(t)
		if now.Error == "" && now.PID != s.PID {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it is not started again: %+v", now)
		}
	}

	taken, err := net.Listen("tcp", "127.0.0.1:8091")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := h.apply(t, instance(8091, "")); err == nil || !strings.Contains(err.Error(), "ends again and again: exit status 1: ") {
		t.Errorf("a port that is taken: %v", err)
	}
	if s := h.status(t); s.Error != "" || h.e.Pending() != nil {
		t.Errorf("not as before: %+v", s)
	}
}

// TestRefused: what cannot come up is refused before anything is touched.
func TestRefused(t *testing.T) {
	program, dir := server(t)
	h := newHost(t, dir)
	text := filepath.Join(dir, "text.gguf")
	if err := os.WriteFile(text, []byte("not a model"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "old-server")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho '-m,    --model FNAME     path'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "tiny.gguf")
	tinyModel(t, model)
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("key\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ binary, model, more, want string }{
		{program, filepath.Join(dir, "none.gguf"), "", "no such file"},
		{program, text, "", "is no GGUF file"},
		{old, model, "", "takes no --host: another version"},
		{filepath.Join(dir, "none"), model, "", "is not installed"},
		{program, model, ", api_key: " + open, "has mode 0644: it is not a secret: want chmod 0640 " + open},
	} {
		err := h.apply(t, fmt.Sprintf("{name: tiny, mode: child, user: root, binary: %s, model: %s%s}", test.binary, test.model, test.more))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	if list := h.m.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestFaults: a server that ends at its start, or is never ready, in the place of one that runs, and one that is stopped.
func TestFaults(t *testing.T) {
	program, dir := server(t)
	model := filepath.Join(dir, "tiny.gguf")
	tinyModel(t, model)
	instance := func(binary string, more string) string {
		return fmt.Sprintf("{name: tiny, mode: child, user: root, binary: %s, model: %s, listen: '127.0.0.1:8092', context: 128, parallel: 1, threads: 1%s}", binary, model, more)
	}
	script := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\ncase \"$*\" in *--help*) exec "+program+" --help;; esac\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h := newHost(t, dir)
	if err := h.apply(t, instance(program, "")); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []struct{ name, instance, want string }{
		{"ends", instance(script("ends", "echo 'cannot go on' >&2; exit 3"), ""), "cannot go on"},
		{"never ready", instance(script("idle", "exec sleep 1000"), ", start_timeout: 2s"), "connection refused"},
	} {
		if err := h.apply(t, fault.instance); err == nil || !strings.Contains(err.Error(), fault.want) {
			t.Errorf("%s: %v, want %q", fault.name, err, fault.want)
		}
		if s := h.status(t); s.Error != "" || h.e.Pending() != nil {
			t.Errorf("%s: not as before: %+v", fault.name, s)
		}
	}
	if err := unix.Kill(h.status(t).PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if s := h.status(t); s.Error == "" {
		t.Errorf("well, and stopped: %+v", s)
	}
}

// TestDiskFull: a key that does not fit is an error, and the server has the one of before.
func TestDiskFull(t *testing.T) {
	servicetest.Need(t)
	dir := t.TempDir()
	fill, room := servicetest.SmallDisk(t, filepath.Join(dir, "run"))
	program := serverIn(t, dir)
	model, key := filepath.Join(dir, "tiny.gguf"), filepath.Join(dir, "key")
	tinyModel(t, model)
	instance := func(text string) string {
		if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("{name: tiny, mode: child, user: root, binary: %s, model: %s, listen: '127.0.0.1:8093', context: 128, parallel: 1, threads: 1, api_key: %s, start_timeout: 60s}", program, model, key)
	}
	h := newHost(t, dir)
	if err := h.apply(t, instance("the first key")); err != nil {
		t.Fatal(err)
	}
	before := h.status(t)
	fill()
	if err := h.apply(t, instance("the second key")); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a disk that is full: %v", err)
	}
	if s := h.status(t); s.Error != "" || s.PID != before.PID || h.e.Pending() != nil {
		t.Errorf("not as before: %+v, before %+v", s, before)
	}
	room()
	if err := h.apply(t, instance("the second key")); err != nil {
		t.Fatal(err)
	}
	if s := h.status(t); s.Error != "" || s.PID == before.PID {
		t.Errorf("with room: %+v, before %+v", s, before)
	}
}
