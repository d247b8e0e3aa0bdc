// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/doctor"
)

// syn is a frame with the SYN of a connection to port 22.
func syn(to net.HardwareAddr, port uint16) []byte {
	f := append(append([]byte{}, to...), 2, 0, 0, 0, 0, 2, 8, 0)
	ip := []byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1}
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	tcp := []byte{0, 0, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(tcp, port)
	pseudo := append(append([]byte{}, ip[12:20]...), 0, unix.IPPROTO_TCP, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return append(append(f, ip...), tcp...)
}

// checksum is the Internet's, RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// knock sends SYNs by far0, from the first CPU.
func (h *host) knock(first, count int) {
	h.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends in the other namespace
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.holder.Process.Pid))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			var cpu unix.CPUSet
			cpu.Set(0)
			if err := unix.SchedSetaffinity(0, &cpu); err != nil {
				return err
			}
			far, err := net.InterfaceByName("far0")
			if err != nil {
				return err
			}
			wan, err := net.InterfaceByName("wan0")
			if err != nil {
				return err
			}
			s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(s)
			for n := range count {
				if err := unix.Sendto(s, syn(wan.HardwareAddr, uint16(first+n)), 0, &unix.SockaddrLinklayer{Ifindex: far.Index}); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

// TestPacketCPUs: packets are counted by the CPU that handles them, and told apart from those
// that others handle than the file says.
func TestPacketCPUs(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	h := newHost(t)
	h.sysfs = true
	const count = 100
	config := strings.Replace(h.config(), "  pin_path", "  cpus: 1\n  pin_path", 1)
	h.write("l2d.yaml", config)
	h.start()
	h.expect("READY=1")
	received := func(want uint64) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			var sum uint64
			for _, c := range h.status().Dataplane.CPUs {
				sum += c.Received()
			}
			if sum >= want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d packets were received, not %d", sum, want)
			}
		}
	}
	h.knock(1000, count)
	received(count)
	s := h.status()
	if n, list := s.Elsewhere(); n != count || len(list) != 1 || list[0] != 0 {
		t.Errorf("without steering: %d packets on %v: %+v", n, list, s.Dataplane.CPUs)
	}
	// That is what the doctor sees of it, too.
	seen := func(severity doctor.Severity) {
		t.Helper()
		list, err := doctor.Examine(doctor.Gather(t.Context(), "", h.client(), time.Millisecond), "cpu")
		if i := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Check == "elsewhere" }); err != nil || i < 0 || list[i].Severity != severity {
			t.Errorf("%v, %+v", err, list)
		}
	}
	seen(doctor.Note)
	h.write("l2d.yaml", config+"  nics: {wan0: {rps: dataplane}}\n")
	if a, err := h.client().HostApply(t.Context(), api.HostOptions{}); err != nil || len(a.Plan.Changes) != 1 {
		t.Fatalf("%+v, %v", a.Plan, err)
	}
	h.knock(2000, count)
	received(2 * count)
	s = h.status()
	if n, list := s.Elsewhere(); n != count {
		t.Errorf("with steering: %d packets on %v: %+v", n, list, s.Dataplane.CPUs)
	}
}
