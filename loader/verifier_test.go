// SPDX-License-Identifier: GPL-2.0-only

package loader_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/nftrand"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/lab/diff"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

var rulesets = flag.String("loader.rulesets", "../examples/*/*.nft", "files of TestVerifier, as patterns with commas")

// sorted is an interface with rules of ntuple of each kind.
func sorted(t *testing.T) loader.Interface {
	t.Helper()
	i := loader.Interface{Name: "lo", Index: 1, XDP: loader.XDPOff}
	for _, text := range []string{"tcp dport 135 drop", "udp6 src 2001:db8::/32 queue 1", "vlan 7 drop", "icmp cpu 0", "all cpu 0-1"} {
		r, err := ntuple.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		i.Rules = append(i.Rules, r)
	}
	return i
}

// withLinks gives the test's thread a network namespace, which ends with it, that has
// the interfaces that rulesets name.
func withLinks(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlock
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, name := range diff.DefaultInterfaces {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerifier loads the dataplane with each ruleset, and with rules of ntuple: what
// one kernel's verifier follows another's does not.
func TestVerifier(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF")
	}
	for pattern := range strings.SplitSeq(*rulesets, ",") {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				if filepath.Base(file) == "rejectframe.nft" && !nftrand.KernelRejectsFrames() {
					t.Skip("the kernel has no reject in chains of interfaces")
				}
				withLinks(t)
				plan, err := enforce.PrepareRuleset(t.Context(), file)
				if err != nil {
					t.Fatal(err)
				}
				plan.Loader.Interfaces = []loader.Interface{sorted(t)}
				if _, err := loader.Check(plan.Loader); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
