// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// serveArg makes the test binary run one of the lab's servers.
const serveArg = "lab-serve"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == serveArg {
		os.Exit(serveMain(os.Args[2], os.Args[3:]))
	}
	if len(os.Args) > 2 && os.Args[1] == holdArg {
		os.Exit(holdMain(os.Args[2]))
	}
	code := m.Run()
	removeBinaries()
	os.Exit(code)
}

func serveMain(name string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var addrs []netip.AddrPort
	for _, a := range args {
		addrs = append(addrs, netip.MustParseAddrPort(a))
	}
	if err := Serve(ctx, name, addrs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
}

// upLab makes a lab that ends with the test.
func upLab(t *testing.T, id string) *Lab {
	t.Helper()
	needRoot(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := Up(t.Context(), Options{ID: id, Serve: []string{os.Args[0], serveArg}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// runChecks runs each check as a subtest.
func runChecks(t *testing.T, l *Lab, dp Dataplane, checks []Check) []Result {
	t.Helper()
	var results []Result
	for _, c := range checks {
		t.Run(c.Group+"/"+c.Name, func(t *testing.T) {
			r := Run(t.Context(), l, dp, []Check{c}, nil)[0]
			t.Logf("%s; %v; %v", r.Shows, r.Rules, r.Notes)
			results = append(results, r)
			if r.Skipped != "" {
				t.Skip(r.Skipped)
			}
			if !r.Pass {
				t.Error(r.Error)
			}
		})
	}
	return results
}

func example(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
