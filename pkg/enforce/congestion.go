// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/bbr3"
)

// LendCongestionControls has the kernel know congestion controls while somebody measures them:
// bbr3 is registered if it is among them and not there yet. It returns what takes that back,
// and leaves connections that use it to their end with it. One that the kernel does not have is
// an error that names those that it has.
func LendCongestionControls(names []string) (done func() error, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return nil, err
	}
	there := strings.Fields(string(text))
	lacks := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(there, name) })
	for _, name := range lacks {
		if name != bbr3.Name {
			return nil, fmt.Errorf("congestion control %q: the kernel has %s, and %s can be lent", name, strings.Join(there, ", "), bbr3.Name)
		}
	}
	if len(lacks) == 0 {
		return func() error { return nil }, nil
	}
	return lendBBR3()
}

func lendBBR3() (done func() error, err error) {
	r := bbr3.Registration{Dir: filepath.Join(defaultBPFFS, fmt.Sprintf("l2d-lent-%d", os.Getpid()))}
	if err := EnsureBPFFS(r.Dir); err != nil {
		return nil, err
	}
	if _, err := r.Register(bbr3.Settings{}); err != nil {
		return nil, err
	}
	return func() error { return r.Unregister(true) }, nil
}
