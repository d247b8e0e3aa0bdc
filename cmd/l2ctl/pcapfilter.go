// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/net/bpf"

	"github.com/randomizedcoder/l2d/loader"
)

// pcapFilter compiles an expression of pcap-filter(7). libpcap does it, by tcpdump: what
// compiles it otherwise knows a part of the syntax, and takes the rest for something else.
func pcapFilter(ctx context.Context, expression string) (f loader.MonitorFilter, err error) {
	if f.Ethernet, err = compileFilter(ctx, "EN10MB", expression); err != nil {
		return f, err
	}
	// What asks for an Ethernet header is not of frames without one.
	if f.IP, err = compileFilter(ctx, "RAW", expression); err != nil {
		f.IP, err = []bpf.RawInstruction{{Op: 0x06}}, nil // ret #0
	}
	return f, err
}

func compileFilter(ctx context.Context, link, expression string) ([]bpf.RawInstruction, error) {
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		return nil, errors.New("a filter is compiled by tcpdump, which is not installed; --addr, --port, --proto and --interface need it not")
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-y", link, "-ddd", "--", expression)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		return nil, fmt.Errorf("filter %q: %s", expression, strings.TrimPrefix(said[strings.LastIndexByte(said, '\n')+1:], "tcpdump: "))
	}
	return parseFilter(string(out))
}

// parseFilter reads what tcpdump -ddd prints: the number of instructions, and their
// numbers on a line each.
func parseFilter(text string) (code []bpf.RawInstruction, err error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines[1:] {
		var i bpf.RawInstruction
		if _, err := fmt.Sscan(line, &i.Op, &i.Jt, &i.Jf, &i.K); err != nil {
			return nil, fmt.Errorf("tcpdump says %q: %w", line, err)
		}
		code = append(code, i)
	}
	if len(code) == 0 {
		return nil, fmt.Errorf("tcpdump says %q", text)
	}
	return code, nil
}
