// SPDX-License-Identifier: GPL-2.0-only

package bench

// Commands are "l2ctl bench": what measures, and what makes something of results. Its tags
// are kong's.
type Commands struct {
	Quick    QuickCmd    `cmd:"" help:"Compare all devices under test in less than two minutes."`
	Cores    CoresCmd    `cmd:"" help:"What two packet cores forward, beside one."`
	Flows    FlowsCmd    `cmd:"" help:"How fast flows begin, and what many of them cost, beside nftables."`
	Rules    RulesCmd    `cmd:"" help:"What rules, sets and maps cost, beside nftables."`
	Drops    DropsCmd    `cmd:"" help:"How fast what a blocklist has is dropped, beside nftables."`
	Tools    ToolsCmd    `cmd:"" help:"What iperf, netperf, flent and others measure through each device."`
	Services ServicesCmd `cmd:"" help:"How long services take to be there, and how many leases they give."`
	Load     LoadCmd     `cmd:"" help:"How long rulesets take to be compiled and loaded, and their sets to be changed."`
	Looks    LooksCmd    `cmd:"" help:"What it costs to look at a busy router, and how long a scrape takes."`
	Micro    MicroCmd    `cmd:"" help:"How long the programs take for a packet, by the kernel's test run."`

	Compare CompareCmd `cmd:"" help:"What became faster and slower between two runs."`
	Report  ReportCmd  `cmd:"" help:"Draw results, as a page for a browser."`
	Export  ExportCmd  `cmd:"" help:"Convert results for other programs."`
	Serve   ServeCmd   `cmd:"" hidden:"" help:"Answer requests of HTTP."`
}
