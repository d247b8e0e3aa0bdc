// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// When a flow ends is a matter of the routers' clocks, which are not the same to
// the tick. In most runs none ends. In a run with expiry some timeouts are short,
// and traffic comes in bursts: within one no flow can end, and between two every
// one does whose timeout is short. A pause is also what turns an exchange of UDP
// datagrams into a stream.
const (
	longTimeout  = time.Hour
	shortTimeout = 2 * time.Second
	// burstPackets are sent without a pause, within burstTime.
	burstPackets = 100
	burstTime    = shortTimeout - 200*time.Millisecond
	// l2d may forget a flow a quarter of its timeout later than it could.
	pauseTime = shortTimeout*5/4 + 500*time.Millisecond
	// burstSessions are under way at once: many meet a pause.
	burstSessions = 40
)

// ErrStalled says that the machine was too busy for a burst to be one.
var ErrStalled = errors.New("a burst took too long: flows may have ended in it")

// withConntrack is a ruleset for which the kernel loads nf_conntrack, where that
// is a module.
const withConntrack = "table inet conntrack { chain c { ct state new; }; }; delete table inet conntrack"

// loadConntrack has it there, with long timeouts only.
func loadConntrack() error {
	if _, err := command(withConntrack, "nft", "-f", "-"); err != nil {
		return err
	}
	return setTimeout("*timeout*", longTimeout)
}

// setTimeout sets those whose names match a pattern.
func setTimeout(pattern string, d time.Duration) error {
	names, err := filepath.Glob("/proc/sys/net/netfilter/nf_conntrack_" + pattern)
	if err != nil || len(names) == 0 {
		return fmt.Errorf("timeout %s of nf_conntrack: %v, %w", pattern, names, err)
	}
	for _, name := range names {
		if err := os.WriteFile(name, []byte(fmt.Sprint(int(d.Seconds()))), 0); err != nil {
			return fmt.Errorf("timeouts of nf_conntrack: %w", err)
		}
	}
	return nil
}

// shortLived makes sets forget in a pause what rules add to them, but for those
// that can be full: when there is room again is a matter of the clocks, too.
func shortLived(ruleset string) string {
	const set = "size 65535; flags dynamic,timeout; timeout "
	return strings.ReplaceAll(ruleset, set+"1h", fmt.Sprintf("%s%ds", set, shortTimeout/time.Second))
}

// pause lets what is short expire.
func (t *trial) pause() {
	t.history = append(t.history, event{shot: shot{pause: true}})
	t.burstSent = t.sent
	time.Sleep(pauseTime)
	t.burst = time.Now()
}

// burstSize is how many packets may come without a pause.
func (t *trial) burstSize() int {
	if t.countsConns {
		return burstPackets / 2 // each waits for connCountAge
	}
	return burstPackets
}

// stalled tells whether a flow may have ended by itself.
func (t *trial) stalled() bool { return t.expiry && time.Since(t.burst) > burstTime }
