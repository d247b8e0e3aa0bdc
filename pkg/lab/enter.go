// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// Enter returns the commands with which a person can look around in a lab; l2ctl
// is how that person calls l2ctl.
func (l *Lab) Enter(dp Dataplane, l2ctl string) string {
	var b strings.Builder
	in := func(host, command, what string) {
		fmt.Fprintf(&b, "  ip netns exec %s %s\n      # %s\n", l.ns[host].name, command, what)
	}
	in(Client1, "bash", "a client on br0")
	in(Router, "bash", "the router")
	in(Inet, "bash", fmt.Sprintf("the Internet: HTTP, DNS, echo and iperf3 at %s and %s", AddrServer.V4, AddrServer.V6))
	in(Client1, fmt.Sprintf("curl -so /dev/null 'http://%s/stream?bytes=%d'", netip.AddrPortFrom(AddrServer.V6, portHTTP), DownloadSize),
		"a download through the router")
	if d, ok := dp.(*L2D); ok {
		fmt.Fprintf(&b, "  %s --socket %s rules\n      # the rules with their counters; status, flows and the rest likewise\n", l2ctl, d.socket)
	}
	fmt.Fprintf(&b, "  %s lab down %s\n      # remove all of it; the logs are in %s\n", l2ctl, l.id, l.dir)
	return b.String()
}
