// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// include/uapi/linux/netdev.h
const (
	netdevFamily      = "netdev"
	netdevCmdNAPIGet  = 11
	netdevNAPIIfindex = 1
	netdevNAPIPID     = 4
)

// A busy machine must not take the packet core away: see setpriority(2).
const niceness = -20

// threadNAPI moves the NAPI of an interface of the namespace into a kernel
// thread on one CPU, and returns the thread's id. Attaching XDP may replace
// the NAPI instance, so this comes after.
func threadNAPI(ns *namespace, name string, ifindex, cpu int) (pid int, err error) {
	err = ns.do(func() error {
		err := os.WriteFile("/sys/class/net/"+name+"/threaded", []byte("1"), 0o644)
		if err != nil {
			return fmt.Errorf("threaded NAPI: %w", err)
		}
		pid, err = napiThread(ifindex)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return pid, pin(pid, cpu)
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

// napiThread asks the kernel (6.10 or newer) which thread polls the only queue
// of an interface in the calling thread's network namespace.
func napiThread(ifindex int) (int, error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return 0, fmt.Errorf("netlink family %s: %w", netdevFamily, err)
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_DUMP)
	// Not nl.Genlmsg: it leaves the header's reserved bytes to chance.
	header := []byte{netdevCmdNAPIGet, uint8(family.Version), 0, 0}
	attr := nl.NewRtAttr(netdevNAPIIfindex, nl.Uint32Attr(uint32(ifindex)))
	req.AddRawData(append(header, attr.Serialize()...))
	msgs, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, fmt.Errorf("list NAPI instances: %w", err)
	}
	for _, m := range msgs {
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
		if err != nil {
			return 0, fmt.Errorf("list NAPI instances: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == netdevNAPIPID && len(a.Value) == 4 {
				return int(binary.NativeEndian.Uint32(a.Value)), nil
			}
		}
	}
	return 0, fmt.Errorf("%d NAPI instances, none with a thread", len(msgs))
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
