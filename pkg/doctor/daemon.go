// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

func checkDaemon(r *report) {
	switch {
	case errors.Is(r.ConfigError, fs.ErrNotExist):
		r.add(Note, "config", "there is no configuration: it is not known which interfaces and CPUs handle packets", r.ConfigError.Error(), "")
	case r.ConfigError != nil:
		r.add(Failure, "config", "the configuration cannot be used", strings.ReplaceAll(r.ConfigError.Error(), "\n", "; "), "l2ctl check says what is wrong with it")
	default:
		r.good("config", "the configuration can be read")
	}
	s := r.Status
	if s == nil {
		r.add(Warning, "daemon", "no daemon runs: what is attached goes on, and nobody follows changes", "nothing listens on the control socket", "systemctl start l2d")
		return
	}
	switch {
	case !s.Attached:
		r.add(Failure, "daemon", "the dataplane is detached: l2d enforces nothing", "", "l2ctl reload")
	case s.ReloadError != "":
		r.add(Warning, "daemon", "the last reload was refused", strings.ReplaceAll(s.ReloadError, "\n", "; "), "l2ctl check, and l2ctl reload")
	case s.Sync != nil && s.Sync.Error != "":
		r.add(Failure, "daemon", "the ruleset of nftables is not in force", strings.ReplaceAll(s.Sync.Error, "\n", "; "), "a ruleset that can be compiled")
	case len(s.TCOnly) > 0:
		r.add(Note, "daemon", "XDP leaves all packets to TC", strings.Join(s.TCOnly, "; "), "")
	default:
		r.good("daemon", "the dataplane is attached, since %s", s.Applied.Format("2006-01-02 15:04"))
	}
	r.declaredHost()
}

// declaredHost is what of the host is not as declared.
func (r *report) declaredHost() {
	h := r.Status.Host
	switch {
	case h == nil:
	case h.Pending != nil && h.Pending.Phase == reconcile.Stuck:
		r.add(Failure, "host", "a change of the host could not be undone", "change "+h.Pending.ID+": "+strings.ReplaceAll(h.Pending.Error, "\n", "; "),
			"l2ctl rollback tries again, l2ctl confirm "+h.Pending.ID+" leaves it as it is")
	case h.Error != "":
		r.add(Failure, "host", "the host is not as declared", strings.ReplaceAll(h.Error, "\n", "; "), "l2ctl plan")
	case h.Pending != nil:
		r.add(Warning, "host", "a change of the host waits for its confirmation", "change "+h.Pending.ID, "l2ctl confirm "+h.Pending.ID+", or l2ctl rollback")
	case len(h.Drift) > 0:
		var list []string
		for _, c := range h.Drift {
			list = append(list, c.ID())
		}
		r.add(Warning, "host", fmt.Sprintf("%d of %d resources are not as declared any more", len(h.Drift), h.Resources), strings.Join(list, ", "), "l2ctl plan, and l2ctl apply; enforce: true keeps them")
	default:
		r.good("host", "%s as declared", plural(h.Resources, "resource is", "resources are"))
	}
}
