// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWatch: what the kernel tells of is heard of.
func TestWatch(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0")
	run(t, "ip", "link", "set", "a0", "up") // of others the kernel tells less
	enter := fmt.Sprintf("--net=/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	changed := make(chan struct{}, 1000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer cancel()
		// Nothing tells when the watch has begun: until then, nothing is heard.
		for begun := false; !begun && ctx.Err() == nil && !t.Failed(); {
			begun = heard(ctx, t, changed, 200*time.Millisecond, enter, "ip", "link", "set", "a0", "alias", time.Now().String())
		}
		for _, change := range [][]string{
			{"ip", "link", "set", "a0", "mtu", "1400"},
			{"tc", "qdisc", "add", "dev", "a0", "root", "pfifo"},
			{"ip", "address", "add", "192.0.2.1/24", "dev", "a0"},
			{"sysctl", "-qw", "net.ipv4.conf.a0.rp_filter=2"},
			{"sysctl", "-qw", "net.ipv6.conf.a0.forwarding=1"},
			{"ethtool", "-K", "a0", "tso", "off"},
		} {
			if !heard(ctx, t, changed, 20*time.Second, append([]string{enter}, change...)...) {
				t.Errorf("%v is not heard of", change)
			}
		}
	}()
	if err := Watch(ctx, func() { changed <- struct{}{} }); err != nil {
		t.Error(err)
	}
	if ctx.Err() != context.Canceled {
		t.Error(ctx.Err())
	}
}

// heard runs a command in a namespace and tells whether a change is heard of in time.
func heard(ctx context.Context, t *testing.T, changed chan struct{}, patience time.Duration, command ...string) bool {
	for len(changed) > 0 {
		<-changed
	}
	if out, err := exec.CommandContext(ctx, "nsenter", command...).CombinedOutput(); err != nil {
		t.Errorf("%v: %v: %s", command, err, out)
	}
	select {
	case <-changed:
		return true
	case <-time.After(patience):
		return false
	case <-ctx.Done():
		return false
	}
}
