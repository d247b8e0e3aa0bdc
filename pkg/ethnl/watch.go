// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"errors"
	"fmt"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// Watcher is told of changes by ethtool of any interface of a network namespace.
type Watcher struct{ conn *genetlink.Conn }

// Watch returns a watcher for the calling thread's network namespace.
func Watch() (*Watcher, error) {
	c, err := Dial()
	if err != nil {
		return nil, err
	}
	for _, g := range c.family.Groups {
		if g.Name != unix.ETHTOOL_MCGRP_MONITOR_NAME {
			continue
		}
		if err := c.conn.JoinGroup(g.ID); err != nil {
			return nil, errors.Join(fmt.Errorf("ethtool netlink: group %s: %w", g.Name, err), c.Close())
		}
		return &Watcher{c.conn}, nil
	}
	return nil, errors.Join(errors.New("ethtool netlink: this kernel has no notifications"), c.Close())
}

// Receive waits for changes. After Close it fails.
func (w *Watcher) Receive() error {
	_, _, err := w.conn.Receive()
	return err
}

// Close ends the watcher, and a call of Receive.
func (w *Watcher) Close() error { return w.conn.Close() }
