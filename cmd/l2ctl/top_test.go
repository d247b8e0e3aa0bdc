// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/randomizedcoder/l2d/internal/tui"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

// busy is a router with more of everything than fits on a terminal.
func busy() observe.View {
	v := observe.View{Time: time.Unix(1, 0), Interval: 2, Host: "l2", Version: "v1", Attached: true, Flows: observe.FlowRates{Flows: observe.Flows{Confirmed: 230000, MaxConfirmed: 262144}}}
	for i := range 30 {
		n := float64(i)
		v.Interfaces = append(v.Interfaces, observe.InterfaceRate{Name: fmt.Sprintf("enp%ds0f0np0", i), Up: true, RxBits: n * 1e9, TxBits: 9.4e9, RxPackets: 14.88e6})
		v.CPUs = append(v.CPUs, observe.CPURate{CPU: i, XDP: 1e6, Busy: 1})
		v.Drops = append(v.Drops, observe.DropRate{Reason: fmt.Sprintf("reason_%d", i), Rate: n})
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		v.Hosts = append(v.Hosts, observe.Host{Address: a, Name: fmt.Sprintf("host%d", i), Flows: 30 - i})
		long := netip.AddrPortFrom(netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), 65535)
		v.Talkers = append(v.Talkers, observe.Talker{Host: a, Protocol: "tcp", Src: long, Dst: long, Forth: n})
		v.Queues = append(v.Queues, observe.QueueRate{Interface: fmt.Sprintf("enp%ds0f0np0", i%3), Kind: "dualpi2", Parent: "root", Delay: 0.0154})
		v.Radios = append(v.Radios, observe.RadioRate{Interface: fmt.Sprintf("wlan%d", i), Channel: 36, Stations: i, Busy: 0.5})
		v.Stations = append(v.Stations, observe.StationRate{Radio: "wlan_5g", MAC: fmt.Sprintf("02:00:00:00:00:%02x", i), Name: fmt.Sprintf("phone%d.home.arpa", i), Signal: -30 - 2*i, SendRate: 1.2e9, Down: 866e6, Airtime: n / 30})
		v.Temperatures = append(v.Temperatures, observe.Temperature{Name: fmt.Sprintf("sensor%d", i), Celsius: n})
	}
	return v
}

func screenText(s *screen, columns, rows int) string {
	var b strings.Builder
	for _, l := range s.draw(columns, rows) {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

// TestTopFits: nothing is wider or longer than the terminal, on any tab.
func TestTopFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 60}, {80, 5}} {
		for tab := range 9 {
			s := screen{view: busy(), tab: tab}
			s.view.Problems = []string{"a", "b"}
			lines := s.draw(size[0], size[1])
			if len(lines) != size[1] {
				t.Errorf("tab %d has %d lines of %d", tab, len(lines), size[1])
			}
			for i, l := range lines {
				if n := utf8.RuneCountInString(l.String()); n > size[0] && i > 1 { // the title may be cut off
					t.Errorf("tab %d at %v, line %d: %d columns: %s", tab, size, i, n, l)
				}
			}
		}
	}
	s := screen{view: busy()}
	text := screenText(&s, 80, 24)
	for _, want := range []string{"flows 230000 (88%)", "INTERFACE", "CPU", "DROPPED BECAUSE", "HOST", "FROM", "QDISC", "AIRTIME", "SENSOR", "29°C sensor29"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the overview:\n%s", want, text)
		}
	}
}

// TestTopKeys drives the screen as somebody types.
func TestTopKeys(t *testing.T) {
	s := screen{view: busy()}
	typed := func(keys ...string) string {
		for _, k := range keys {
			s.key(k)
		}
		return screenText(&s, 80, 24)
	}
	contains := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	contains(typed("1"), "Interfaces: 30", "enp0s0f0np0")
	contains(typed("s", "s", "s"), "IN bit/sv", "29G") // the most first
	if text := typed("r"); strings.Contains(text, "29G") {
		t.Errorf("not reversed:\n%s", text)
	}
	contains(typed(tui.End), "29G")
	contains(typed("4", "/", "h", "o", "s", "t", "2", "9", tui.Enter), "Hosts: 1 of 30", "10.0.0.29")
	contains(typed(tui.Enter), "Flows that move most: 1 of 10.0.0.29")
	contains(typed(tui.Escape), "Hosts: 1 of 30")
	contains(typed(tui.Escape), "Hosts: 30")
	// 10.0.0.2 is not 10.0.0.20 to 29.
	contains(typed(tui.Down, tui.Down, tui.Enter), "Flows that move most: 1 of 10.0.0.2")
	contains(typed("1", "r", tui.Home, tui.Enter), "Queues: ")
	contains(typed("3", "/", "x", "y", tui.Backspace, tui.Backspace, "_", "7", tui.Enter), `with "_7"`, "nothing was dropped")
	contains(typed("7", "s", "s", "s", "s", "r"), "Stations: 30", "SIGNAL^", "-88 dBm", "phone29")
	contains(typed("8", "/", "w", "l", "a", "n", "3", tui.Enter), "50% busy", "channel 36, 3 stations")
	contains(typed("?"), "go into it")
	contains(typed("?", " "), "stopped")
	contains(typed("0"), "INTERFACE")
	if s.key("q"); !s.quit {
		t.Error("q does not quit")
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.25: "0.2", 9.94: "9.9", 9.96: "10", 999.4: "999", 999.6: "1.0k", 1000: "1k", 14.88e6: "15M", 9.41e9: "9.4G", 1e16: "10P"} {
		if got := human(n); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
	if n := len(tables(&observe.View{})); n+1 != len((&screen{}).states) {
		t.Errorf("%d tables and an overview for %d tabs", n, len((&screen{}).states))
	}
	if !slices.ContainsFunc(tables(&observe.View{}), func(t topTable) bool { return t.into != 0 }) {
		t.Error("nothing to go into")
	}
}
