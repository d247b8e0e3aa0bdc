// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tried is what came of making a link.
type tried struct {
	// err is why the kernel cannot; nil if it can.
	err error
	// lacks has the options that the kernel does not have for it.
	lacks map[string]bool
}

// triedLinks are those that were made, or cannot be, by what [kindOf] calls them.
var triedLinks sync.Map

// tryLink makes a link in a network namespace that ends with the call. That has the
// kernel load the module, too.
func tryLink(kind string) tried {
	if t, ok := triedLinks.Load(kind); ok {
		return t.(tried)
	}
	done := make(chan tried, 1)
	go func() {
		// Never unlocked: the thread, and so the namespace, ends here.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- tried{err: fmt.Errorf("new network namespace: %w", err)}
			return
		}
		done <- tryHere(kind)
	}()
	t := <-done
	if t.err == nil || errors.Is(t.err, unix.EOPNOTSUPP) {
		triedLinks.Store(kind, t)
	}
	return t
}

// tryParent is what a link that is tried is on top of.
const tryParent = "below"

func tryHere(kind string) tried {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = tryParent
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}); err != nil {
		return tried{err: err}
	}
	l, err := makeLink("try", kind)
	t := tried{err: err, lacks: map[string]bool{}}
	if b, ok := l.(*netlink.Bridge); ok {
		t.lacks["vlan_filtering"] = b.VlanFiltering == nil
		t.lacks["multicast_snooping"] = b.MulticastSnooping == nil
	}
	return t
}
