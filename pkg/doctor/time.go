// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"time"

	"github.com/randomizedcoder/l2d/pkg/host"
)

func checkTime(r *report) {
	r.clockSource()
	r.synchronised()
}

func (r *report) clockSource() {
	const dir = "sys/devices/system/clocksource/clocksource0/"
	switch v := r.read(dir + "current_clocksource"); v {
	case "":
	case "hpet", "acpi_pm", "jiffies", "refined-jiffies":
		r.add(Warning, "source", "reading the time is slow, and every packet has it read", "clock source "+v+" of "+r.read(dir+"available_clocksource"), "look at what dmesg says of the tsc; tsc=reliable on the kernel command line if it is")
	default:
		r.good("source", "the clock source is %s", v)
	}
}

// daemons that keep the time.
var timeDaemons = []string{"chronyd", "systemd-timesyn", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys"}

// farOff is by how much a clock may be off before certificates and logs are wrong.
const farOff = 5 * time.Second

func (r *report) synchronised() {
	by := ""
	for _, name := range timeDaemons {
		if host.Process(r.Root, name) != 0 {
			by = name
		}
	}
	switch c := r.Clock; {
	case c == nil:
	case !c.Synchronised && by == "":
		r.add(Warning, "sync", "nothing keeps the time", "the kernel's clock is not synchronised", "systemctl enable --now systemd-timesyncd, or chrony")
	case !c.Synchronised:
		r.add(Note, "sync", by+" runs, and has not synchronised the clock yet", "adjtimex: STA_UNSYNC", "its servers, and whether the ruleset lets their answers in")
	case c.MaxError > farOff:
		r.add(Warning, "sync", "the time may be off by more than it should", "at most "+c.MaxError.String(), "the servers of "+by)
	default:
		r.good("sync", "the clock is synchronised to within %s", c.MaxError.Round(time.Millisecond))
	}
}
