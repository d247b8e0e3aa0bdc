// SPDX-License-Identifier: GPL-2.0-only

// Command l2ctl checks rulesets and controls a running l2d.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/bench"
	"github.com/randomizedcoder/l2d/internal/buildinfo"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/doctor"
	"github.com/randomizedcoder/l2d/pkg/lab/diff"
	"github.com/randomizedcoder/l2d/pkg/recursor"
)

// version is set by the linker.
var version = "unknown"

// Exit codes.
const (
	exitFailure = 1
	// exitInput: what was asked for, or a file, is at fault. Nothing was
	// changed.
	exitInput = 2
)

// cli is the command line.
type cli struct {
	Socket  string         `help:"Control socket of the daemon." default:"${socket}" env:"L2D_SOCKET" placeholder:"PATH"`
	Version buildinfo.Flag `help:"Print the version, the commit and the layout of flows."`

	Check     checkCmd     `cmd:"" help:"Check a configuration and its ruleset, up to the kernel's verifier. Changes nothing."`
	Status    statusCmd    `cmd:"" help:"Show the daemon and its dataplane."`
	Top       topCmd       `cmd:"" help:"Show what goes through: interfaces, CPUs, drops, hosts, flows, queues."`
	Doctor    doctorCmd    `cmd:"" help:"Look at the host, and say what is not as it should be and what to do about it. Changes nothing."`
	Explain   explainCmd   `cmd:"" help:"Say what becomes of a packet, and why. Changes nothing."`
	Maps      mapsCmd      `cmd:"" help:"Show the pinned maps, what each is, and what it takes."`
	Monitor   monitorCmd   `cmd:"" help:"Show what happens while it happens: packets that are dropped, and why, or pass, flows, NAT failures, logs, sets, services."`
	Flows     flowsCmd     `cmd:"" help:"List and delete tracked flows."`
	Rules     rulesCmd     `cmd:"" help:"Show the ruleset with the packets and bytes of each rule."`
	Set       setCmd       `cmd:"" help:"Change and list sets of the ruleset."`
	NTuple    ntupleCmd    `cmd:"" name:"ntuple" help:"Show and try rules that sort packets before all else."`
	Plan      planCmd      `cmd:"" help:"Compare the host with what the configuration declares. Changes nothing."`
	Apply     applyCmd     `cmd:"" help:"Bring the host into the declared state, or leave it as it is."`
	Confirm   confirmCmd   `cmd:"" help:"Keep a change of the host that waits for this."`
	Rollback  rollbackCmd  `cmd:"" help:"Undo a change of the host that waits for its confirmation, or go back to a revision."`
	Revisions revisionsCmd `cmd:"" help:"List what was applied to the host, or show one and how it differs."`
	Stations  stationsCmd  `cmd:"" help:"Show radios with their stations, or what happens to them."`
	Qdisc     qdiscCmd     `cmd:"" help:"Show the qdiscs of interfaces with what they have counted."`
	Services  servicesCmd  `cmd:"" help:"Show and restart the daemons around the dataplane."`
	LLM       llmCmd       `cmd:"" name:"llm" help:"Ask the language model."`
	Leases    leasesCmd    `cmd:"" help:"List who has which address from the DHCP servers."`
	DNS       dnsCmd       `cmd:"" name:"dns" help:"Look into the recursor."`
	Reload    reloadCmd    `cmd:"" help:"Have the daemon read its files again. Bad files change nothing."`
	Capture   captureCmd   `cmd:"" help:"Capture what the kernel and programs tell each other of radios. Needs no daemon."`
	Detach    detachCmd    `cmd:"" help:"Load the ruleset into nftables and remove the dataplane."`
	Lab       LabCmd       `cmd:"" help:"Try it: a router and its surroundings as network namespaces."`

	Bench bench.Commands `cmd:"" help:"Measure how fast l2d forwards, beside the limit and the kernel. Needs no daemon."`

	Schema     schemaCmd     `cmd:"" help:"Print a JSON Schema of the configuration, for editors."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands in a shell: source <(l2ctl completion bash)"`
	Complete   completeCmd   `cmd:"" hidden:"" passthrough:""`
	Man        manCmd        `cmd:"" hidden:"" help:"Print the manual page."`
}

// env is what commands run with.
type env struct {
	ctx    context.Context
	out    io.Writer
	client *api.Client
	// progress is where it is shown how far something is; nil: nobody looks.
	progress io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs a command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := newParser(&c, stdout, stderr, func(code int) { exit = code })
	if err != nil {
		panic(err) // a wrong struct tag
	}
	kctx, err := parser.Parse(withoutLetters(args))
	switch {
	case exit >= 0: // --help, --version
		return exit
	case err != nil:
		fmt.Fprintf(stderr, "l2ctl: %v\n", err)
		return exitInput
	}
	err = kctx.Run(&env{ctx: ctx, out: stdout, client: api.NewClient(c.Socket), progress: onTerminal(stderr)})
	return report(stderr, err)
}

// newParser reads command lines.
func newParser(c *cli, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("l2ctl"),
		kong.Description("Checks rulesets and controls a running l2d."),
		kong.Vars{"version": version, "socket": config.DefaultSocket, "config": config.DefaultPath, "pin_path": config.DefaultPinPath, "areas": strings.Join(doctor.Names(), ", "), "tops": strings.Join(recursor.Tops, ", "), "interfaces": strings.Join(diff.DefaultInterfaces, ",")},
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
	)
}

// report prints an error once and returns the exit code for it.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var said *saidError
	if !errors.As(err, &said) {
		hint := ""
		if errors.Is(err, api.ErrNotRunning) {
			hint = ": want it started, as by systemctl start l2d, or its socket named by --socket"
		}
		fmt.Fprintf(stderr, "l2ctl: %v%s\n", err, hint)
	}
	var coded interface{ ExitCode() int }
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case api.IsBadInput(err):
		return exitInput
	}
	return exitFailure
}

// saidError is an error that was printed in another form.
type saidError struct{ error }

func (e *saidError) Unwrap() error { return e.error }
