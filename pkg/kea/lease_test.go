// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const csv4 = `address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.100,02:00:5e:10:00:01,01:02:00:5e:10:00:01,3600,1800000000,1,0,0,Laptop.home.arpa.,0,,0
192.168.1.101,02:00:5e:10:00:02,,3600,1800000000,1,0,0,bad&#x2cname,0,,0
192.168.1.101,02:00:5e:10:00:03,,3600,1800000100,1,0,0,phone,0,,0
192.168.1.102,02:00:5e:10:00:04,,3600,1800000000,1,0,0,gone,0,,0
192.168.1.102,02:00:5e:10:00:04,,0,1800000000,1,0,0,gone,2,,0
192.168.1.103,,,4294967295,99999,1,0,0,,1,,0
192.168.1.104,02:00:5e
`

const csv6 = `address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context
fd00::1000,00:01:02,3600,1800000000,1,1800,0,1,128,0,0,laptop,,0,
2001:db8:0:100::,00:01:02,3600,1800000000,1,1800,2,2,56,0,0,,,0,
2001:db8:0:200::,00:01:02,3600,1800000000,1,1800,2,2,200,0,0,,,0,
`

func TestParseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := ReadFile(path); err != nil || len(list) != 0 {
		t.Errorf("no file: %v %v", list, err)
	}
	write("", csv4)
	list, err := ReadFile(path)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	now := time.Unix(1799999999, 0)
	if l := list[0]; l.Name != "laptop.home.arpa" || l.MAC != "02:00:5e:10:00:01" || !l.Active(now) || l.Active(now.Add(time.Second)) || l.Expires.Unix() != 1800000000 {
		t.Errorf("the first: %+v", l)
	}
	if l := list[1]; l.Name != "phone" || l.Expires.Unix() != 1800000100 {
		t.Errorf("given again: %+v", l)
	}
	if l := list[2]; l.State != StateDeclined || l.Expires != forever || l.Active(now) {
		t.Errorf("declined, without an end: %+v", l)
	}
	// While Kea cleans up it has the older lines aside.
	write(".2", csv4)
	write("", strings.SplitAfter(csv4, "\n")[0]+"192.168.1.100,02:00:5e:10:00:01,,0,1800000000,1,0,0,,2,,0\n")
	if list, err = ReadFile(path); err != nil || len(list) != 2 {
		t.Errorf("with a file aside: %+v %v", list, err)
	}
	write("", csv6)
	write(".2", csv6)
	if list, err = ReadFile(path); err != nil || len(list) != 2 {
		t.Fatalf("DHCPv6: %+v %v", list, err)
	}
	if list[0].Prefix != netip.MustParsePrefix("2001:db8:0:100::/56") || list[1].Prefix != netip.MustParsePrefix("fd00::1000/128") || list[1].DUID != "00:01:02" {
		t.Errorf("DHCPv6: %+v", list)
	}
}

const answer = `{"result": 0, "text": "2 IPv4 lease(s) found.", "arguments": {"leases": [
 {"cltt": 1799996400, "valid-lft": 3600, "ip-address": "192.168.1.101", "hw-address": "02:00:5e:10:00:01", "hostname": "laptop.", "state": 0, "subnet-id": 1},
 {"cltt": 1799996400, "valid-lft": 4294967295, "ip-address": "192.168.1.100", "hw-address": "", "hostname": "\u001b[2J", "state": 9, "subnet-id": 1},
 {"cltt": 1799996400, "valid-lft": 3600, "ip-address": "2001:db8:0:100::", "type": "IA_PD", "prefix-len": 56, "duid": "00:01", "state": 0, "subnet-id": 1}]}}`

func TestParseLeases(t *testing.T) {
	r, err := parseReply([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseLeases(r.Arguments)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	if l := list[1]; l.Name != "laptop" || l.Expires.Unix() != 1800000000 || l.State != StateAssigned {
		t.Errorf("%+v", l)
	}
	if l := list[0]; l.Name != "" || l.Expires != forever || l.State != StateNotKnown {
		t.Errorf("what is no name: %+v", l)
	}
	if l := list[2]; l.Prefix.Bits() != 56 || l.DUID != "00:01" {
		t.Errorf("a prefix: %+v", l)
	}
	for _, bad := range []string{`{"leases": [{"ip-address": "x"}]}`, `{"leases": [{"ip-address": "::1", "type": "IA_PD", "prefix-len": 129}]}`, `{"leases": [{"ip-address": "::1", "cltt": -1}]}`, `[]`} {
		if list, err := parseLeases([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, list)
		}
	}
}

func TestUse(t *testing.T) {
	var raw map[string]json.RawMessage
	err := json.Unmarshal([]byte(`{"subnet[1].total-addresses": [[101, "2026-01-01 00:00:00.1"]], "subnet[2].total-addresses": [[10, ""]],
		"subnet[1].assigned-addresses": [[3, "2026"], [2, "2025"]], "subnet[1].pool[0].assigned-addresses": [[3, ""]], "subnet[1].declined-addresses": [[1, ""]],
		"uptime": [["00:01:00", ""]], "nothing": [], "bad": {}}`), &raw)
	if err != nil {
		t.Fatal(err)
	}
	if u := UseOf(4, parseStatistics(raw)); u != (Use{Total: 111, Assigned: 3, Declined: 1}) {
		t.Errorf("%+v", u)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add(csv4)
	f.Add(csv6)
	f.Fuzz(func(t *testing.T, text string) {
		leases := map[netip.Prefix]Lease{}
		_ = parseFile(strings.NewReader(text), leases)
		for p, l := range leases {
			if l.Prefix != p {
				t.Fatalf("%v: %+v", p, l)
			}
			check(t, &l)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte(answer))
	f.Add([]byte(`{"result": 3, "text": "0 IPv4 lease(s) found."}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err != nil {
			return
		}
		list, err := parseLeases(r.Arguments)
		if err != nil {
			return
		}
		for i := range list {
			check(t, &list[i])
		}
		var raw map[string]json.RawMessage
		if json.Unmarshal(r.Arguments, &raw) == nil {
			UseOf(4, parseStatistics(raw))
		}
	})
}

// check wants a lease that can be shown.
func check(t *testing.T, l *Lease) {
	if !l.Prefix.IsValid() || CleanName(l.Name) != l.Name || hexBytes(l.MAC) != l.MAC {
		t.Fatalf("%+v", l)
	}
	if _, err := json.Marshal(l); err != nil {
		t.Fatal(err)
	}
}
