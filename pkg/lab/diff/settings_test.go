// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// TestDefaultTimeouts: what a new configuration has is what a new namespace has, but for
// what docs/configuration.md says.
func TestDefaultTimeouts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	others := map[string]time.Duration{"TCPEstablished": 5 * 24 * time.Hour, "UDPStream": 2 * time.Minute}
	n, err := newNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer n.file.Close()
	err = n.do(func() error {
		if _, err := command(withConntrack, "nft", "-f", "-"); err != nil {
			return err
		}
		v := reflect.ValueOf(flow.DefaultTimeouts())
		for i := range v.NumField() {
			name, want := v.Type().Field(i).Name, time.Duration(v.Field(i).Int())
			if other, ok := others[name]; ok {
				want = other
			}
			pattern := timeoutSysctls[name]
			if name == "Generic" {
				pattern = "generic_timeout" // GRE's are others
			}
			files, err := filepath.Glob("/proc/sys/net/netfilter/nf_conntrack_" + pattern)
			if err != nil || len(files) == 0 {
				return errors.Join(fmt.Errorf("%s: no sysctl", name), err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				if got := strings.TrimSpace(string(text)); got != fmt.Sprint(int(want.Seconds())) {
					t.Errorf("%s: the kernel has %s s, not %v", filepath.Base(file), got, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
