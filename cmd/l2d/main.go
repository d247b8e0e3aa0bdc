// SPDX-License-Identifier: GPL-2.0-only

// Command l2d enforces an nftables ruleset as eBPF.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/buildinfo"
	"github.com/randomizedcoder/l2d/internal/climanual"
	"github.com/randomizedcoder/l2d/internal/journal"
	"github.com/randomizedcoder/l2d/pkg/config"
)

// version is set by the linker.
var version = "unknown"

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	// exitInput: the configuration, the ruleset or the host is at fault.
	// Nothing was changed; a dataplane that runs goes on.
	exitInput = 2
)

// options is the command line.
type options struct {
	Config       string         `help:"Configuration file." default:"${config}" type:"path" placeholder:"FILE"`
	DetachOnExit bool           `help:"Load the ruleset into nftables and remove the dataplane on SIGTERM, instead of leaving it attached."`
	Version      buildinfo.Flag `help:"Print the version, the commit and the layout of flows."`
	Man          manFlag        `help:"Print the manual page." hidden:""`
}

func main() {
	var opt options
	kong.Parse(&opt,
		kong.Name("l2d"),
		kong.Description("Enforces an nftables ruleset as eBPF. SIGHUP reads the files again; SIGTERM ends the daemon and leaves the dataplane attached."),
		kong.Vars{"version": version, "config": config.DefaultPath},
		// kong's own exit code of a wrong command line is 80.
		kong.Exit(func(code int) { os.Exit(exitCode(code)) }),
	)
	setupLog(config.Default().Log, new(slog.LevelVar)) // until the file says how
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	err := run(ctx, opt)
	if err == nil {
		return
	}
	tellEnd(err)
	var in *inputError
	if errors.As(err, &in) {
		os.Exit(exitInput)
	}
	os.Exit(exitFailure)
}

// manual is what the command line's definition does not say.
var manual = climanual.Page{
	Section: 8,
	Summary: "enforce an nftables ruleset as eBPF",
	Exit: []climanual.Exit{
		{Code: exitOK, Text: "It was told to end."},
		{Code: exitFailure, Text: "It could not start, or go on. A dataplane that runs goes on."},
		{Code: exitInput, Text: "The configuration, the ruleset or the host is at fault. Nothing was changed."},
	},
	Files: [][2]string{
		{config.DefaultPath, "The configuration."},
		{config.DefaultPinPath, "Programs, links and maps. They stay when the daemon ends."},
		{config.DefaultStateDir, "What was applied, and what it takes to undo a change that is not final."},
		{config.DefaultSocket, "The control socket."},
	},
	SeeAlso: []string{"l2ctl(8)", "nft(8)"},
}

// manFlag prints the manual page, for packages.
type manFlag bool

// BeforeReset is called by kong when the flag is given.
func (manFlag) BeforeReset(app *kong.Kong) error {
	err := climanual.Man(app.Stdout, app.Model, manual)
	app.Exit(0)
	return err
}

func exitCode(code int) int {
	if code == exitOK {
		return exitOK
	}
	return exitInput
}

// inputError is an error before anything was changed.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }

func input(err error) error {
	if err == nil {
		return nil
	}
	return &inputError{err}
}

// setupLog makes the default logger what a configuration says. The level can be
// changed later.
func setupLog(c config.Log, level *slog.LevelVar) {
	level.Set(logLevel(c.Level))
	opt := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(os.Stderr, opt)
	switch {
	case c.Format == config.LogJSON:
		h = slog.NewJSONHandler(os.Stderr, opt)
	case c.Format == config.LogAuto && journal.TakesStderr():
		if j, err := journal.New(level); err == nil {
			h = j
		}
	}
	slog.SetDefault(slog.New(h))
}

// tellEnd says why the daemon ends: by the log, where that is read by levels.
func tellEnd(err error) {
	if journal.TakesStderr() {
		slog.Error("l2d ends", "err", err)
		return
	}
	fmt.Fprintln(os.Stderr, "l2d:", err)
}

func logLevel(s string) slog.Level {
	switch s {
	case config.LogDebug:
		return slog.LevelDebug
	case config.LogWarn:
		return slog.LevelWarn
	case config.LogError:
		return slog.LevelError
	}
	return slog.LevelInfo
}
