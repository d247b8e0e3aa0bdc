// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/pktlog"
)

// The rule that marks asks for a whole header: kernels from 7 on find no ports in one
// that is cut off.
const logRuleset = `table inet t {
	chain raw {
		type filter hook prerouting priority raw; policy accept;
		udp dport 1-32767 udp checksum 0-65535 meta mark set 0x2a
		log prefix "l2d-log raw " level info flags all
	}
	chain in {
		type filter hook input priority filter; policy accept;
		log prefix "l2d-log in " level info
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		log prefix "l2d-log forward " level info flags tcp sequence,options flags ip options
	}
	chain out {
		type filter hook output priority filter; policy accept;
		log prefix "l2d-log out " level info flags all
	}
	chain post {
		type filter hook postrouting priority filter; policy accept;
		log prefix "l2d-log post " level info flags ether
	}
}`

// TestLog compares l2d's lines with those of the kernel's log. It needs a kernel
// that logs for namespaces, which makes all of them write to one log: a virtual
// machine has it.
func TestLog(t *testing.T) {
	if b, _ := os.ReadFile("/proc/sys/net/netfilter/nf_log_all_netns"); strings.TrimSpace(string(b)) != "1" {
		t.Skip("net.netfilter.nf_log_all_netns is not 1: nftables in a namespace logs nothing")
	}
	log, err := openKernelLog()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(log)
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "log.nft")
	if err := os.WriteFile(file, []byte(logRuleset), 0o600); err != nil {
		t.Fatal(err)
	}
	// No more than the buffer of events has room for.
	for i := range uint64(4) {
		res, err := r.Run(t.Context(), file, Options{Packets: 150, Seed: seedOf() + i})
		if err != nil {
			t.Fatal(err)
		}
		if res.Mismatch != nil {
			t.Error(res.Mismatch)
		}
		want, err := kernelLines(log)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.lines(t.Context(), len(want))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %d lines", res, len(got))
		if len(want) < 100 {
			t.Errorf("the kernel has logged %d lines", len(want))
		}
		for _, line := range surplus(want, got) {
			t.Errorf("kernel alone: %s", line)
		}
		for _, line := range surplus(got, want) {
			t.Errorf("l2d alone:    %s", line)
		}
	}
}

// openKernelLog opens the kernel's log behind its end.
func openKernelLog() (int, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// kernelLines reads what the rules have logged since the last call.
func kernelLines(log int) ([]string, error) {
	var lines []string
	record := make([]byte, 8192)
	for {
		n, err := unix.Read(log, record)
		if errors.Is(err, unix.EAGAIN) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		_, text, _ := strings.Cut(string(record[:n]), ";")
		text, _, _ = strings.Cut(text, "\n") // properties follow
		if strings.HasPrefix(text, "l2d-log ") {
			lines = append(lines, plain(text))
		}
	}
}

// lines are those of l2d for the last run: at least n, if they come.
func (r *Rig) lines(ctx context.Context, n int) ([]string, error) {
	names := map[int]string{0: "", 1: "lo"}
	for i, p := range r.ports {
		names[r.routers[1].index[i]] = p.name
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.AfterFunc(time.Minute, cancel)
	e := r.loaded.e
	var lines []string
	err := e.dp.Events(ctx, func(event loader.Event) {
		l := e.logs[event.Log]
		lines = append(lines, plain(l.Prefix+pktlog.Line(&event, l.Flags, func(i int) string { return names[i] })))
		if len(lines) >= n {
			end.Reset(time.Second) // for what there should not be
		}
	})
	return lines, err
}

// own is what a router chooses for its own packets.
var own = regexp.MustCompile(`\b(ID|FLOWLBL)=\d+`)

func plain(line string) string {
	line = strings.TrimRight(line, " ")
	if strings.Contains(line, " IN= ") {
		line = own.ReplaceAllString(line, "$1=")
	}
	return line
}

// surplus are the lines of a that b does not have, each as often as it is more.
func surplus(a, b []string) []string {
	left := map[string]int{}
	for _, line := range b {
		left[line]++
	}
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool {
		left[line]--
		return left[line] >= 0
	})
}
