// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// texts are the last parts of sysctls that are texts, lists or masks, though they may look like
// numbers.
var texts = []string{
	"ip_local_reserved_ports", "rps_default_mask", "flow_limit_cpu_bitmap", "watchdog_cpumask", "hostname", "domainname", "core_pattern",
	"tcp_congestion_control", "tcp_allowed_congestion_control", "default_qdisc", "cap_last_cap", "actions_logged", "modprobe", "hotplug",
}

// number is a whole number as the kernel reads it: strtoul() with the base 0.
func number(s string) (n uint64, negative, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if digits == "" || strings.ContainsAny(digits, "+-_oObB") && !strings.HasPrefix(strings.ToLower(digits), "0x") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	return n, negative && n > 0, err == nil
}

// sameValue tells whether two values are the same: text, or numbers.
func sameValue(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return slices.EqualFunc(x, y, func(a, b string) bool {
		if a == b {
			return true
		}
		n, minus, ok := number(a)
		m, minus2, ok2 := number(b)
		return ok && ok2 && n == m && minus == minus2
	})
}

// malformed says what is wrong with a value of a sysctl that has another now, if these are numbers: the kernel wants
// as many.
func malformed(name, want, have string) (problem, accepted string) {
	now, then := strings.Fields(have), strings.Fields(want)
	isNumber := func(s string) bool { _, _, ok := number(s); return ok }
	if len(now) == 0 || slices.Contains(texts, path.Base(swap.Replace(name))) || !allOf(now, isNumber) {
		return "", ""
	}
	accepted = "a whole number"
	if len(now) > 1 {
		accepted = fmt.Sprintf("%d whole numbers", len(now))
	}
	if len(now) != len(then) || !allOf(then, isNumber) {
		return "not " + accepted, accepted + ", such as " + words(have)
	}
	return "", ""
}

func allOf(list []string, is func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !is(s) })
}

// related are the last parts of sysctls whose range is another sysctl's value, which a new namespace does not have.
var related = []string{
	"ip_local_port_range", "ip_unprivileged_port_start", "ipfrag_high_thresh", "ipfrag_low_thresh", "ip6frag_high_thresh", "ip6frag_low_thresh",
	"nf_conntrack_frag6_high_thresh", "nf_conntrack_frag6_low_thresh", "rto_min", "rto_max", "pf_retrans", "ps_retrans",
}

// tryValues finds which values of sysctls of the network namespace the kernel does not take, of those that are to
// change: it writes them in another one, that is made for that.
func (t *trials) tryValues(s *Sysctl, list []*reconcile.Resource) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refuses = map[string]error{}
	var differ []*reconcile.Resource
	for _, r := range list {
		b, err := os.ReadFile(s.path(r.Name))
		if strings.HasPrefix(r.Name, "net.") && err == nil && !sameValue(string(b), r.Want[valueKey]) && !slices.Contains(newValues, r.Name) &&
			!slices.Contains(related, path.Base(swap.Replace(r.Name))) {
			differ = append(differ, r)
		}
	}
	if len(differ) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the namespace ends with the thread
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			return // applying it will tell
		}
		for _, r := range differ {
			name := r.Name
			if link := linkOfSysctl(name); link != "" && link != "all" && link != "default" {
				const there = "lo" // is in all namespaces, and has what each interface has
				name = swap.Replace(strings.Replace(swap.Replace(name), "/"+link+"/", "/"+there+"/", 1))
			}
			err := write(s.path(name), r.Want[valueKey])
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
				t.refuses[r.Name+" "+r.Want[valueKey]] = err
			}
		}
	}()
	<-done
}

// wrongValue is what is wrong with a value that the kernel does not take.
func (s *Sysctl) wrongValue(r *reconcile.Resource) []reconcile.Problem {
	b, err := os.ReadFile(s.path(r.Name))
	if err != nil {
		return nil
	}
	p := reconcile.Problem{Resource: r, Key: valueKey}
	if p.Problem, p.Want = malformed(r.Name, r.Want[valueKey], string(b)); p.Problem != "" {
		return []reconcile.Problem{p}
	}
	if s.trials == nil {
		return nil
	}
	s.trials.mu.Lock()
	defer s.trials.mu.Unlock()
	if s.trials.refuses[r.Name+" "+r.Want[valueKey]] != nil {
		p.Problem, p.Want = "this kernel does not take it", "a value in its range; it is "+words(string(b))+" now"
		return []reconcile.Problem{p}
	}
	return nil
}
