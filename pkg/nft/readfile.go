// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ReadFile loads a ruleset file with nft in a new network namespace, in which
// the given links exist as dummy interfaces, and reads back what the kernel
// then holds. Relative includes are looked up from the working directory, as
// nft does, and then from the directory of the file. It needs CAP_SYS_ADMIN
// and CAP_NET_ADMIN. What nft reports comes through in the error, with file,
// line and column.
func ReadFile(ctx context.Context, path string, links []Link) (*Ruleset, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("ruleset: %w", err)
	}
	rs, err := readBack(ctx, links, func() error { return loadFile(ctx, path) })
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(path); err == nil {
		setLines(rs, string(text))
	}
	return rs, nil
}

// ReadText is [ReadFile] of a text that is in no file. Errors are about a file of that name.
func ReadText(ctx context.Context, name, text string, links []Link) (*Ruleset, error) {
	rs, err := readBack(ctx, links, func() error { return loadText(ctx, name, text) })
	if err != nil {
		return nil, err
	}
	setLines(rs, text)
	return rs, nil
}

// readBack has a ruleset loaded into a new namespace, and returns what the kernel makes of it.
func readBack(ctx context.Context, links []Link, load func() error) (*Ruleset, error) {
	return inNamespace(func() (*Ruleset, error) {
		if err := createLinks(links); err != nil {
			return nil, err
		}
		if err := load(); err != nil {
			return nil, err
		}
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		defer func() { _ = conn.Close() }()
		return readKernel(ctx, conn, takeElements)
	})
}

// inNamespace runs fn in a thread of its own in a new network namespace. The
// thread ends with it, and so does the namespace.
func inNamespace(fn func() (*Ruleset, error)) (*Ruleset, error) {
	type result struct {
		rs  *Ruleset
		err error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread must not be used for anything else.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("new network namespace: %w", err)}
			return
		}
		rs, err := fn()
		done <- result{rs, err}
	}()
	r := <-done
	return r.rs, r.err
}
