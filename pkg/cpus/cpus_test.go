// SPDX-License-Identifier: GPL-2.0-only

package cpus

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []int
		out  string
	}{
		{"0-3,8", []int{0, 1, 2, 3, 8}, "0-3,8"},
		{"0,12,1,13\n", []int{0, 12, 1, 13}, "0-1,12-13"},
		{"", nil, ""},
		{"(null)\n", nil, ""},
		{"7", []int{7}, "7"},
		{"8191", []int{8191}, "8191"},
	} {
		got, err := Parse(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) || Format(got) != c.out {
			t.Errorf("%q: %v, %v, %q", c.in, got, err, Format(got))
		}
	}
	for _, bad := range []string{"a", "3-1", "1,1", "0-3,2", "1,", "-1", "01", "+1", "8192", "1 2", "0-", "0-3:1/2"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{"0\n": "", "ff": "0-7", "00,00000000": "", "1,00000003": "0-1,32", "ff,ffffffff": "0-39"} {
		got, err := ParseMask(in)
		if err != nil || Format(got) != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
		if again, err := ParseMask(FormatMask(got)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q becomes %q", in, FormatMask(got))
		}
	}
	if m := FormatMask([]int{32, 0}); m != "1,00000001" {
		t.Errorf("mask %q", m)
	}
	for _, bad := range []string{"", "x", "1ffffffff", "1,,1"} {
		if got, err := ParseMask(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestMachine(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"possible": "0-7\n", "online": "0-5\n", "isolated": "0-1\n", "nohz_full": "1-2\n"} {
		if err := os.WriteFile(filepath.Join(root, dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list             []int
		refuses, steered string
	}{
		{[]int{3, 5}, "", ""},
		{[]int{0, 3}, "", "isolated CPUs (isolcpus, nohz_full): 0"},
		{[]int{2}, "", "isolated CPUs (isolcpus, nohz_full): 2"},
		{[]int{6}, "not online: CPU 6", "not online"},
		{[]int{0, 8, 9}, "the machine has no CPU 8-9", "the machine has no CPU 8-9"},
	} {
		if got, _ := m.Refuses(c.list); !strings.Contains(got, c.refuses) || (got == "") != (c.refuses == "") {
			t.Errorf("%v: %q", c.list, got)
		}
		if got, _ := m.RefusesSteering(c.list); !strings.Contains(got, c.steered) || (got == "") != (c.steered == "") {
			t.Errorf("%v, steered: %q", c.list, got)
		}
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a machine without CPUs")
	}
}

func TestTicks(t *testing.T) {
	got, err := parseTicks("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 8 16 32 64 128 256 512\ncpu11 0 0 0 7 0 0 0 0 0 0\nintr 1 2\n")
	if want := (map[int]Ticks{0: {1, 2, 4, 8, 16, 32, 64, 128}, 11: {Idle: 7}}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if busy, all := got[0].Busy(), got[0].All(); busy != 231 || all != 255 {
		t.Errorf("%d of %d", busy, all)
	}
	for _, bad := range []string{"cpu1 2 3\n", "cpux 1 1 1 1 1 1 1 1\n", "cpu0 1 1 1 1 1 1 1 -1\n"} {
		if got, err := parseTicks(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	if now, err := ReadTicks(); err != nil || len(now) == 0 {
		t.Errorf("%+v, %v", now, err)
	}
	if d := TicksTime(250); d != 2500*time.Millisecond {
		t.Error(d)
	}
}
