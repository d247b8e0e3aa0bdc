// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// router is a router in a namespace of its own between two hosts in theirs:
//
//	lan 192.168.7.2, fd07::2 -- lan0 [router] wan0 -- wan 198.51.7.2, 2001:db8:7::2
type router struct {
	t    *testing.T
	name string
	pin  string
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and BPF")
	}
}

func newRouter(t *testing.T) *router {
	t.Helper()
	needRoot(t)
	if err := checkBPFFS("/sys/fs/bpf"); err != nil {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	r := &router{t: t, name: fmt.Sprintf("l2d-%d-%s", os.Getpid(), strings.ToLower(filepath.Base(t.Name())))}
	r.pin = "/sys/fs/bpf/" + r.name
	t.Cleanup(func() {
		os.RemoveAll(r.pin)
		for _, ns := range []string{"r", "l", "w"} {
			exec.Command("ip", "netns", "del", r.name+ns).Run()
		}
	})
	for _, ns := range []string{"r", "l", "w"} {
		r.must("ip", "netns", "add", r.name+ns)
		r.must("ip", "-n", r.name+ns, "link", "set", "lo", "up")
		r.must("ip", "netns", "exec", r.name+ns, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
	}
	r.must("ip", "netns", "exec", r.name+"r", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	for dev, host := range map[string]string{"lan0": "l", "wan0": "w"} {
		r.must("ip", "-n", r.name+"r", "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", r.name+host)
		// XDP cannot finish a checksum that the peer has left to hardware.
		r.must("ip", "netns", "exec", r.name+host, "ethtool", "-K", "eth0", "tx", "off", "gro", "on")
	}
	for dev, addrs := range map[string][]string{"lan0": {"192.168.7.1/24", "fd07::1/64"}, "wan0": {"198.51.7.1/24", "2001:db8:7::1/64"}} {
		for _, a := range addrs {
			r.must("ip", "-n", r.name+"r", "addr", "add", a, "dev", dev)
		}
		r.must("ip", "-n", r.name+"r", "link", "set", dev, "up")
	}
	for host, addrs := range map[string][]string{"l": {"192.168.7.2/24", "fd07::2/64"}, "w": {"198.51.7.2/24", "2001:db8:7::2/64"}} {
		for _, a := range addrs {
			r.must("ip", "-n", r.name+host, "addr", "add", a, "dev", "eth0")
		}
		r.must("ip", "-n", r.name+host, "link", "set", "eth0", "up")
	}
	r.must("ip", "-n", r.name+"l", "route", "add", "default", "via", "192.168.7.1")
	r.must("ip", "-n", r.name+"l", "-6", "route", "add", "default", "via", "fd07::1")
	return r
}

func (r *router) must(args ...string) string {
	r.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// host returns a command that runs in one of the namespaces: l, r or w.
func (r *router) host(ns string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", r.name + ns}, args...)...)
}

// in runs f in a namespace, without the new mount of /sys that `ip netns exec`
// makes.
func (r *router) in(ns string, f func() error) {
	r.t.Helper()
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		fd, err := unix.Open("/run/netns/"+r.name+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		errs <- err
	}()
	if err := <-errs; err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) config(p Policy) Config {
	cfg := Config{PinPath: r.pin, MaxFlows: 1024, MaxHalfOpen: 512, Timeouts: testTimeouts(), Policy: p}
	for _, name := range []string{"lan0", "wan0"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			r.t.Fatal(err)
		}
		cfg.Interfaces = append(cfg.Interfaces, Interface{Name: name, Index: l.Attrs().Index, XDP: XDPAuto})
	}
	return cfg
}

// testPolicy accepts everything and masquerades what leaves, without the
// compiler: the loader's and the dataplane's tests do not depend on it.
type testPolicy struct {
	id         byte
	masquerade bool
	dropInput  bool
}

func (p testPolicy) Hash() [32]byte { return [32]byte{p.id} }

func (p testPolicy) Splice(spec *ebpf.CollectionSpec) error {
	var pkt *btf.Struct
	if err := spec.Types.TypeByName("pkt", &pkt); err != nil {
		return err
	}
	offset := int16(-1)
	for _, m := range pkt.Members {
		if m.Name == "nat" {
			offset = int16(m.Offset.Bytes())
		}
	}
	for _, prog := range spec.Programs {
		var out asm.Instructions
		skip := false
		for _, ins := range prog.Instructions {
			if name := ins.Symbol(); name != "" {
				// Nothing calls the compiler's helpers now: out with them.
				skip = strings.HasPrefix(name, "policy_") || strings.HasPrefix(name, "nft_")
				if strings.HasPrefix(name, "policy_") {
					verdict := int32(1)
					if p.dropInput && name == "policy_input" {
						verdict = 0
					}
					body := asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.JEq.Imm(asm.R1, 0, "out")}
					if p.masquerade && name == "policy_postrouting_nat" {
						body = append(body, asm.Mov.Imm(asm.R2, 1), asm.StoreMem(asm.R1, offset, asm.R2, asm.Word))
					}
					body = append(body, asm.Mov.Imm(asm.R0, verdict), asm.Return().WithSymbol("out"))
					body[0] = btf.WithFuncMetadata(body[0].WithSymbol(name).WithSource(ins.Source()), btf.FuncMetadata(&ins))
					out = append(out, uniqueLabels(body, name)...)
				}
			}
			if !skip {
				out = append(out, ins)
			}
		}
		prog.Instructions = out
	}
	return spec.Variables["policy_phases"].Set(uint32(0x3ff))
}

func uniqueLabels(body asm.Instructions, name string) asm.Instructions {
	for i := range body {
		if body[i].Reference() == "out" {
			body[i] = body[i].WithReference(name + ".out")
		}
		if body[i].Symbol() == "out" {
			body[i] = body[i].WithSymbol(name + ".out")
		}
	}
	return body
}
