// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// servers are what Serve knows, by name. Each gets its addresses, says that it is
// ready once it accepts requests, and returns when the context ends.
var servers = map[string]func(ctx context.Context, addrs []netip.AddrPort, ready func()) error{
	"http":  serveHTTP,
	"dns":   serveDNS,
	"echo":  serveEcho,
	"ssh":   serveSSH,
	"flows": runFlows,
}

// Serve runs one of the lab's own servers until the context ends. It is meant for
// a process that the lab has started inside a namespace: "ready" on its standard
// output tells the lab that the server can be used.
func Serve(ctx context.Context, name string, addrs []netip.AddrPort) error {
	serve, ok := servers[name]
	if !ok {
		return fmt.Errorf("no server %q: want one of %s", name, strings.Join(ServerNames(), ", "))
	}
	return serve(ctx, addrs, func() { fmt.Fprintln(os.Stdout, "ready") })
}

// ServerNames returns what Serve accepts.
func ServerNames() []string {
	var names []string
	for name := range servers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// startServers starts the servers that every check may use.
func (l *Lab) startServers(ctx context.Context) error {
	inet := []netip.Addr{
		AddrServer.V4, AddrServer.V6, AddrBlocked.V4, AddrBlocked.V6,
		AddrPMTU.V4, AddrPMTU.V6, AddrReload.V4, AddrReload.V6,
	}
	for _, s := range []struct {
		ns, name string
		addrs    []netip.AddrPort
	}{
		{Inet, "http", ports(portHTTP, inet...)},
		{Inet, "dns", ports(portDNS, AddrServer.V4, AddrServer.V6)},
		{Inet, "echo", ports(portEcho, inet...)},
		{HS1, "http", ports(portHTTP, AddrHS1.V4, AddrHS1.V6)},
		{HS1, "echo", ports(portEcho, AddrHS1.V4, AddrHS1.V6)},
		{Client1, "http", ports(portHTTP, AddrClient1.V4, AddrClient1.V6)},
		{Router, "ssh", ports(portSSH, anyAddr.V4, anyAddr.V6)},
		{Router, "echo", ports(portEcho, AddrRouterWAN.V4, AddrRouterWAN.V6)},
	} {
		if err := l.startServer(ctx, s.ns, s.name, s.addrs); err != nil {
			return err
		}
	}
	p, err := l.start(Inet, "inet-iperf3", processOptions{}, "iperf3", "-s", "--forceflush", "-p", fmt.Sprint(portIperf))
	if err != nil {
		return err
	}
	l.undo.add("iperf3", p.Stop)
	return l.ready(ctx, p, "Server listening")
}

func (l *Lab) startServer(ctx context.Context, ns, name string, addrs []netip.AddrPort) error {
	argv := append(slices.Clone(l.serve), name)
	for _, a := range addrs {
		argv = append(argv, a.String())
	}
	p, err := l.start(ns, ns+"-"+name, processOptions{}, argv...)
	if err != nil {
		return err
	}
	l.undo.add(p.name, p.Stop)
	return l.ready(ctx, p, "ready")
}

// ready waits until the process has written text to its log.
func (l *Lab) ready(ctx context.Context, p *Process, text string) error {
	var ended error
	err := poll(ctx, 20*time.Second, func() error {
		data, err := os.ReadFile(p.log)
		if err == nil && strings.Contains(string(data), text) {
			return nil
		}
		if ended = p.exited(); ended != nil {
			return nil
		}
		return fmt.Errorf("%s is not ready: %s", p.name, data)
	})
	if ended != nil {
		return ended
	}
	return err
}

func ports(port uint16, addrs ...netip.Addr) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range addrs {
		list = append(list, netip.AddrPortFrom(a, port))
	}
	return list
}

// firstError waits for a server's first error, or for the end of ctx, which is
// none.
func firstError(ctx context.Context, errc <-chan error) error {
	select {
	case err := <-errc:
		return err
	case <-ctx.Done():
		return nil
	}
}
