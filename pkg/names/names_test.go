// SPDX-License-Identifier: GPL-2.0-only

package names

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBook(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	now := time.Now().Unix()
	keaFile := write("kea", "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n"+
		fmt.Sprintf("192.168.1.100,02:00:00:00:00:01,,3600,%d,1,0,0,old,0,,0\n", now+1000)+
		fmt.Sprintf("192.168.1.100,02:00:00:00:00:01,,3600,%d,1,0,0,Phone.,0,,0\n", now+1001)+
		fmt.Sprintf("192.168.1.101,02:00:00:00:00:02,,3600,%d,1,0,0,ended,0,,0\n", now-10)+
		fmt.Sprintf("192.168.1.102,02:00:00:00:00:03,,3600,%d,1,0,0,\x1b[31m<b>x\",0,,0\nnonsense\n", now+1000))
	dnsmasq := write("dnsmasq", "1800000000 02:00:00:00:00:04 192.168.1.103 tv 01:02\n1800000000 02:00:00:00:00:05 192.168.1.104 * *\nduid 00:01\n")
	reserved := func(context.Context) map[netip.Addr]string {
		return map[netip.Addr]string{netip.MustParseAddr("192.168.1.103"): "television"}
	}
	b := New(KeaFile("/nonexistent"), Dnsmasq("/nonexistent"), KeaFile(keaFile), Dnsmasq(dnsmasq), reserved)
	want := map[netip.Addr]string{netip.MustParseAddr("192.168.1.100"): "phone", netip.MustParseAddr("192.168.1.103"): "television"}
	if got := b.All(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := b.Of(netip.MustParseAddr("192.168.1.100")); got != "phone" {
		t.Errorf("%q", got)
	}
}

// TestFollow: addresses without a lease have the name of their host; of what may be a router they have none.
func TestFollow(t *testing.T) {
	address := netip.MustParseAddr
	b := New(func(context.Context) map[netip.Addr]string {
		return map[netip.Addr]string{address("192.168.1.100"): "phone", address("192.168.1.101"): "tv", address("192.168.1.102"): "printer"}
	})
	b.Follow(func(context.Context) map[string]string { return map[string]string{"02:00:00:00:00:02": "nas"} }, func() map[string][]netip.Addr {
		return map[string][]netip.Addr{
			"02:00:00:00:00:01": {address("192.168.1.100"), address("2001:db8::1"), address("fe80::1")},
			"02:00:00:00:00:02": {address("2001:db8::2")},
			"02:00:00:00:00:03": {address("192.168.1.101"), address("192.168.1.102"), address("2001:db8::3")},
			"02:00:00:00:00:04": {address("2001:db8::4")},
		}
	})
	want := map[netip.Addr]string{
		address("192.168.1.100"): "phone", address("2001:db8::1"): "phone", address("fe80::1"): "phone", address("2001:db8::2"): "nas",
		address("192.168.1.101"): "tv", address("192.168.1.102"): "printer",
	}
	if got := b.All(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzParseDnsmasq(f *testing.F) {
	f.Add("1800000000 02:00:00:00:00:04 192.168.1.103 tv 01:02\n")
	f.Fuzz(func(t *testing.T, text string) {
		for a, name := range parseDnsmasq(strings.NewReader(text)) {
			if !a.IsValid() || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' }) {
				t.Fatalf("%v %q", a, name)
			}
		}
	})
}
