// SPDX-License-Identifier: GPL-2.0-only

// l2bench measures how fast l2d forwards, beside the limit and the kernel.
package main

import (
	"github.com/alecthomas/kong"

	"github.com/randomizedcoder/l2d/bench"
)

func main() {
	var cli struct {
		Quick    bench.QuickCmd    `cmd:"" help:"Compare all devices under test in less than two minutes."`
		Cores    bench.CoresCmd    `cmd:"" help:"What two packet cores forward, beside one."`
		Flows    bench.FlowsCmd    `cmd:"" help:"How fast flows begin, and what many of them cost, beside nftables."`
		Rules    bench.RulesCmd    `cmd:"" help:"What rules, sets and maps cost, beside nftables."`
		Drops    bench.DropsCmd    `cmd:"" help:"How fast what a blocklist has is dropped, beside nftables."`
		Tools    bench.ToolsCmd    `cmd:"" help:"What iperf, netperf, flent and others measure through each device."`
		Services bench.ServicesCmd `cmd:"" help:"How long services take to be there, and how many leases they give."`
		Load     bench.LoadCmd     `cmd:"" help:"How long rulesets take to be compiled and loaded, and their sets to be changed."`
		Looks    bench.LooksCmd    `cmd:"" help:"What it costs to look at a busy router, and how long a scrape takes."`
		Micro    bench.MicroCmd    `cmd:"" help:"How long the programs take for a packet, by the kernel's test run."`

		Compare bench.CompareCmd `cmd:"" help:"What became faster and slower between two runs."`
		Report  bench.ReportCmd  `cmd:"" help:"Draw results, as a page for a browser."`
		Serve   bench.ServeCmd   `cmd:"" hidden:"" name:"serve" help:"Answer requests of HTTP."`
		Export  bench.ExportCmd  `cmd:"" help:"Convert results for other programs."`
	}
	k := kong.Parse(&cli, kong.Name("l2bench"), kong.UsageOnError())
	k.FatalIfErrorf(k.Run())
}
