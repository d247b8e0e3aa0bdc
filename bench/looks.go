// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// How a router is looked at: a scrape ten times as often as people do, top as often as it
// does by itself, and what a page with its history takes.
const (
	scrapeEvery = time.Second
	sampleEvery = 2 * time.Second
	listEvery   = 10 * time.Second
	watchRate   = 1000 // packets a second that l2ctl monitor is told of
)

// metricsPort is where the daemon answers scrapes.
const metricsPort = 9465

// looker looks at a daemon in all ways at once.
type looker struct {
	client *api.Client
	http   *http.Client
	url    string

	mu      sync.Mutex
	scrapes []time.Duration
	size    int // of the last scrape, bytes
	failed  error
}

// newLooker looks at the daemon of a router.
func newLooker(t *Topology, client *api.Client) *looker {
	dial := func(_ context.Context, network, addr string) (c net.Conn, err error) {
		e := t.InRouter(func() error {
			c, err = net.Dial(network, addr)
			return err
		})
		return c, e
	}
	return &looker{client: client, http: &http.Client{Transport: &http.Transport{DialContext: dial}}, url: fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort)}
}

// scrape asks for all metrics and notes how long it took.
func (l *looker) scrape(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return err
	}
	begin := time.Now()
	resp, err := l.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	took := time.Since(begin)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", l.url, resp.Status)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scrapes, l.size = append(l.scrapes, took), int(n)
	return nil
}

func (l *looker) sample(ctx context.Context) error {
	_, err := l.client.Sample(ctx)
	return err
}

func (l *looker) list(ctx context.Context) error {
	return l.client.Flows(ctx, flow.Filter{}, func(flow.Flow) error { return nil })
}

// watch is l2ctl monitor of these kinds.
func (l *looker) watch(ctx context.Context, kinds ...string) error {
	return l.client.Watch(ctx, api.WatchOptions{Kinds: kinds, Rate: watchRate}, nil, func(api.Watched) error { return nil })
}

// every has something done again and again, with such a pause.
type every func(pause time.Duration, f func(context.Context) error)

// way of looking at a router.
type way struct {
	name string
	look func(l *looker, do every)
}

// ways are those that are compared with nobody looking.
var ways = []way{
	{"scrape, top", func(l *looker, do every) {
		do(scrapeEvery, l.scrape)
		do(sampleEvery, l.sample)
	}},
	{"all but packets", func(l *looker, do every) {
		do(scrapeEvery, l.scrape)
		do(sampleEvery, l.sample)
		do(listEvery, l.list)
		do(0, func(ctx context.Context) error {
			return l.watch(ctx, api.WatchFlows, api.WatchNAT, api.WatchLog, api.WatchSets, api.WatchServices)
		})
	}},
	{"monitor drops", func(l *looker, do every) {
		do(0, func(ctx context.Context) error { return l.watch(ctx, api.WatchDrops) })
	}},
}

// during has a way of looking go on until stop is called, which tells what failed.
func (l *looker) during(ctx context.Context, w way) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	w.look(l, func(pause time.Duration, f func(context.Context) error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := f(ctx); err != nil && ctx.Err() == nil {
					l.mu.Lock()
					l.failed = errors.Join(l.failed, err)
					l.mu.Unlock()
					return
				}
				_ = wait(ctx, pause) // it ends with the context
			}
		})
	})
	return func() error {
		cancel()
		all.Wait()
		return l.failed
	}
}

// keepReceiver has the receiver's NAPI on the packet core, whoever sends to it: a packet that
// the router's own stack sends would take it to that CPU, where others are. A real-time
// thread takes what has come at once, as the softirq that it is elsewhere.
func (l *lane) keepReceiver() error {
	tids, err := threadNAPI(l.topology.sink, sinkName, l.topology.Sink.Index, l.options.RouterCPU)
	if err != nil {
		return err
	}
	l.threads = append(l.threads, tids...)
	return preferAlways(tids[0])
}

// keepTo has all threads of a process, and those that they begin, on a CPU: packet cores
// are for packets.
func keepTo(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("affinity of thread %d: %w", tid, err)
		}
	}
	return nil
}

// upLoopback lets the router be asked by its own address.
func upLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
