// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// manyFlows is how many a router has while it is looked at.
const manyFlows = 262144

// The stream that is forwarded meanwhile, of a packet every interval.
const (
	streamPackets  = 10000
	streamInterval = time.Millisecond
	streamPort     = 7777
)

// router has the host forward from lan0, behind which far1 is, to wan0.
func (h *host) router(t *testing.T) {
	t.Helper()
	for _, args := range []string{
		"ip link set lo up", "ip link add lan0 type veth peer name far1", "ip addr add 192.168.7.1/24 dev lan0",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1", "ip link set lan0 up", "ip link set far1 up",
		"ip neigh add 192.168.7.2 lladdr 02:00:00:00:00:03 dev lan0", "ip route add 10.0.0.0/8 via 192.168.7.2",
	} {
		f := strings.Fields(args)
		if out, err := h.command(f[0], f[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	h.write("firewall.nft", "table inet filter {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy drop;\n\t\tct state established,related accept\n\t\tiifname \"lan0\" udp dport { 9, 7777 } accept\n\t}\n}\n")
	config := strings.Replace(h.config(), "[{name: wan0}, {name: br0}", "[{name: wan0, xdp: \"off\"}, {name: lan0, xdp: \"off\"}", 1)
	h.write("l2d.yaml", config+"metrics: {listen: 127.0.0.1:9465, rules: true}\nconntrack: {max_flows: 270000, timeouts: {udp_unreplied: 1h, udp_stream: 1h}}\n")
}

// inNamespace runs f on a thread of the host's.
func (h *host) inNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.holder.Process.Pid))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// wire is a packet socket at the far end of a router's interface.
type wire struct {
	fd    int
	far   net.Interface
	frame []byte // a datagram to the router, of a client or to one
}

func newWire(near, far string) (w wire, err error) {
	router, err := net.InterfaceByName(near)
	if err != nil {
		return w, err
	}
	end, err := net.InterfaceByName(far)
	if err != nil {
		return w, err
	}
	w.far = *end
	if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return w, err
	}
	w.frame = make([]byte, 60)
	copy(w.frame, router.HardwareAddr)
	copy(w.frame[6:], end.HardwareAddr)
	copy(w.frame[12:], []byte{0x08, 0x00, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17})
	binary.BigEndian.PutUint16(w.frame[38:], 26) // UDP's length, without a checksum
	return w, nil
}

// send sends a datagram with a number.
func (w *wire) send(src, dst [4]byte, sport, dport uint16, number uint32) error {
	ip := w.frame[14:]
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], 0)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum&0xffff+sum>>16))
	binary.BigEndian.PutUint16(ip[20:], sport)
	binary.BigEndian.PutUint16(ip[22:], dport)
	binary.BigEndian.PutUint32(ip[28:], number)
	return unix.Sendto(w.fd, w.frame, 0, &unix.SockaddrLinklayer{Ifindex: w.far.Index})
}

var streamTo = [4]byte{192, 0, 2, 2}

// fill begins flows, each with an answer.
func (h *host) fill(n int) error {
	return h.inNamespace(func() error {
		lan, err := newWire("lan0", "far1")
		if err != nil {
			return err
		}
		defer unix.Close(lan.fd)
		wan, err := newWire("wan0", "far0")
		if err != nil {
			return err
		}
		defer unix.Close(wan.fd)
		for i := range uint32(n) {
			client, port := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}, uint16(1024+i%60000)
			if err := errors.Join(lan.send(client, streamTo, port, 9, i), wan.send(streamTo, client, 9, port, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// lost sends the stream and counts what of it does not arrive.
func (h *host) lost() (lost int, err error) {
	err = h.inNamespace(func() error {
		lan, err := newWire("lan0", "far1")
		if err != nil {
			return err
		}
		defer unix.Close(lan.fd)
		far, err := net.InterfaceByName("far0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const etherIPv4 = 0x0008 // in network byte order
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherIPv4, Ifindex: far.Index}))
		if err != nil {
			return err
		}
		begin := time.Now()
		for i := range uint32(streamPackets) {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * streamInterval)))
			if err := lan.send([4]byte{192, 168, 7, 2}, streamTo, streamPort, streamPort, i); err != nil {
				return err
			}
			if i%10 == 0 { // for who watches drops
				if err := lan.send([4]byte{192, 168, 7, 2}, streamTo, streamPort, 25, i); err != nil {
					return err
				}
			}
		}
		lost, err = missing(fd)
		return err
	})
	return lost, err
}

// missing reads what has come, and waits for what may still do.
func missing(fd int) (int, error) {
	timeout := unix.NsecToTimeval(int64(2 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return 0, err
	}
	seen, arrived := make([]bool, streamPackets), 0
	buf := make([]byte, 128)
	for arrived < streamPackets {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return 0, err
		}
		if n < 46 || binary.BigEndian.Uint16(buf[36:]) != streamPort {
			continue
		}
		number := binary.BigEndian.Uint32(buf[42:])
		if seen[number] {
			return 0, fmt.Errorf("packet %d came twice", number)
		}
		seen[number] = true
		arrived++
	}
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops != 0 {
		return 0, fmt.Errorf("the socket has lost %d: %w", stats.Drops, err)
	}
	return streamPackets - arrived, nil
}

// observers look at the daemon in all ways at once, again and again.
func (h *host) observers(ctx context.Context, t *testing.T) (wait func(), looks func() map[string]int64) {
	var all sync.WaitGroup
	var scrapes, samples, lists, events atomic.Int64
	look := func(n *atomic.Int64, f func() error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				n.Add(1)
				sleep(ctx, 100*time.Millisecond)
			}
		})
	}
	look(&scrapes, func() error {
		out, err := h.command("curl", "-sS", "--fail", "http://127.0.0.1:9465/metrics").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "l2d_flows") {
			err = errors.New("no flows in the metrics")
		}
		return err
	})
	look(&samples, func() error {
		_, err := h.client().Sample(ctx)
		return err
	})
	look(&lists, func() error {
		n := 0
		err := h.client().Flows(ctx, flow.Filter{}, func(flow.Flow) error { n++; return nil })
		if err == nil && n < manyFlows {
			err = fmt.Errorf("%d flows are listed, want %d", n, manyFlows)
		}
		return err
	})
	all.Go(func() {
		o := api.WatchOptions{Kinds: []string{api.WatchDrops, api.WatchFlows, api.WatchNAT, api.WatchLog, api.WatchSets, api.WatchServices}, Rate: 1000}
		err := h.client().Watch(ctx, o, nil, func(api.Watched) error { events.Add(1); return nil })
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	return all.Wait, func() map[string]int64 {
		return map[string]int64{"scrapes": scrapes.Load(), "samples of top": samples.Load(), "lists of flows": lists.Load(), "events of monitor": events.Load()}
	}
}

// TestObserversLoad: a stream loses no packet while the router has as many flows as fit and
// is looked at in all ways.
func TestObserversLoad(t *testing.T) {
	h := newHost(t)
	h.router(t)
	h.start()
	h.expect("READY=1")
	if err := h.fill(manyFlows); err != nil {
		t.Fatal(err)
	}
	if n, err := h.client().CountFlows(t.Context(), flow.Filter{}); err != nil || n < manyFlows {
		t.Fatalf("%d flows, want %d: %v, %v", n, manyFlows, err, h.status().Dataplane.Stats)
	}
	alone, err := h.lost()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait, looks := h.observers(ctx, t)
	watched, streams := 0, 0
	unseen := func() bool {
		for _, n := range looks() {
			if n == 0 {
				return true
			}
		}
		return false
	}
	for streams == 0 || unseen() && streams < 30 && err == nil { // a list takes its time
		n := 0
		n, err = h.lost()
		watched, streams = watched+n, streams+1
	}
	cancel()
	wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d flows: of %d packets %d are lost while nobody looks, of %d %d during %v", manyFlows, streamPackets, alone, streams*streamPackets, watched, looks())
	if alone != 0 || watched != 0 {
		t.Error("packets are lost")
	}
	if unseen() {
		t.Error("not all have looked")
	}
}
