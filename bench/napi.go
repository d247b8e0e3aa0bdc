// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// include/uapi/linux/netdev.h
const (
	netdevFamily      = "netdev"
	netdevCmdNAPIGet  = 11
	netdevNAPIIfindex = 1
	netdevNAPIID      = 2
	netdevNAPIPID     = 4
)

// A busy machine must not take the packet core away: see setpriority(2).
const niceness = -20

// threadNAPI moves the NAPI of an interface of the namespace into kernel
// threads, that of each queue on a CPU, and returns the threads' ids. Attaching XDP may
// replace the NAPI instances, so this comes after.
func threadNAPI(ns *namespace, name string, ifindex int, cpus ...int) (pids []int, err error) {
	err = ns.do(func() error {
		err := os.WriteFile("/sys/class/net/"+name+"/threaded", []byte("1"), 0o644)
		if err != nil {
			return fmt.Errorf("threaded NAPI: %w", err)
		}
		pids, err = napiThreads(ifindex)
		if err == nil && len(pids) != len(cpus) {
			err = fmt.Errorf("%d queues for %d CPUs", len(pids), len(cpus))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, pid := range pids {
		if err := pin(pid, cpus[i]); err != nil {
			return nil, err
		}
	}
	return pids, nil
}

// pin binds a thread to one CPU and prefers it there. pid 0: the caller.
func pin(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("bind thread %d to CPU %d: %w", pid, cpu, err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, niceness); err != nil {
		return fmt.Errorf("priority of thread %d: %w", pid, err)
	}
	return nil
}

// preferAlways has a thread go before all that is no real-time thread, as what runs on
// another machine would. pid 0: the caller.
func preferAlways(pid int) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(pid, &attr, 0); err != nil {
		return fmt.Errorf("real-time priority of thread %d: %w", pid, err)
	}
	return nil
}

// napiThreads asks the kernel (6.10 or newer) which threads poll the queues of an
// interface in the calling thread's network namespace, in the order of the queues.
func napiThreads(ifindex int) ([]int, error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("generic netlink: %w", err)
	}
	defer conn.Close()
	family, err := conn.GetFamily(netdevFamily)
	if err != nil {
		return nil, fmt.Errorf("netlink family %s: %w", netdevFamily, err)
	}
	which := netlink.NewAttributeEncoder()
	which.Uint32(netdevNAPIIfindex, uint32(ifindex))
	data, err := which.Encode()
	if err != nil {
		return nil, err
	}
	msgs, err := conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: netdevCmdNAPIGet, Version: family.Version}, Data: data,
	}, family.ID, netlink.Request|netlink.Dump)
	if err != nil {
		return nil, fmt.Errorf("list NAPI instances: %w", err)
	}
	threads := map[uint32]int{}
	for _, m := range msgs {
		attrs, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return nil, fmt.Errorf("list NAPI instances: %w", err)
		}
		var id, pid uint32
		for attrs.Next() {
			switch attrs.Type() {
			case netdevNAPIID:
				id = attrs.Uint32()
			case netdevNAPIPID:
				pid = attrs.Uint32()
			}
		}
		if err := attrs.Err(); err != nil {
			return nil, fmt.Errorf("list NAPI instances: %w", err)
		}
		if pid != 0 {
			threads[id] = int(pid)
		}
	}
	if len(threads) == 0 {
		return nil, fmt.Errorf("%d NAPI instances, none with a thread", len(msgs))
	}
	// Instances are numbered as they are made, queue by queue.
	var pids []int
	for _, id := range slices.Sorted(maps.Keys(threads)) {
		pids = append(pids, threads[id])
	}
	return pids, nil
}

// threadTime is how long a thread has been running on a CPU.
func threadTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return 0, fmt.Errorf("/proc/%d/schedstat is empty", pid)
	}
	ns, err := strconv.ParseInt(f[0], 10, 64)
	return time.Duration(ns), err
}

// cpuTime is how long a CPU has been busy itself since it started, in steps of 10 ms.
func cpuTime(cpu int) (time.Duration, error) {
	ticks, err := cpus.ReadTicks()
	if err != nil {
		return 0, err
	}
	t, ok := ticks[cpu]
	if !ok {
		return 0, fmt.Errorf("/proc/stat has no CPU %d", cpu)
	}
	return cpus.TicksTime(t.Busy() - t.Steal), nil
}
