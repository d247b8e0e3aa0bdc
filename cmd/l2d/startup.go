// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/daemons"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// What a daemon starts with are its files, unless they are known to be wrong: a file
// that cannot be used, a change that was undone or never confirmed, or one that was
// for an earlier run of the kernel only must not leave the host without its firewall,
// or lock its owner out again. Then it is the revision that was in force before.

// whyWaits is why a revision is in force and not the files, until it is confirmed.
const whyWaits = "it waits for its confirmation"

// revisionsOf opens the revisions in a state directory.
func revisionsOf(stateDir string) *revision.Store {
	return revision.Open(filepath.Join(stateDir, "revisions"))
}

// latest is the revision that the daemon would start with; nil if there is none.
func latest(list []revision.Summary) *revision.Summary {
	boot, err := reconcile.BootID()
	if err != nil {
		slog.Error("the run of the kernel is not known", "err", err)
	}
	for i := range list {
		if list[i].Starts(boot) {
			return &list[i]
		}
	}
	return nil
}

// allWrong is all that is wrong with the files, if anything is: how they are written, their ruleset,
// what the host cannot have, and their services, as their own programs say. Nothing is touched.
func allWrong(ctx context.Context, path string) error {
	_, err := config.Load(path, func(c *config.Config) error {
		_, errRuleset := enforce.Prepare(ctx, c)
		list, errHost := hostkinds.Resources(c)
		_, errPlan := reconcile.New("", slog.New(slog.DiscardHandler), hostkinds.Kinds()...).Plan(ctx, list)
		errServices := service.Faults(ctx, c, daemons.All(), service.DirsOf(c))
		return errors.Join(errRuleset, errHost, errPlan, errServices)
	})
	return err
}

// loadConfig reads the configuration file; if that cannot be, it is the one that the
// daemon would start with in its place. An error is all that is wrong with the file.
func loadConfig(ctx context.Context, path string) (*config.Config, error) {
	stateDir := config.DefaultStateDir
	c, err := config.Load(path, func(c *config.Config) error {
		if c.Sound("host.state_dir") {
			stateDir = c.Host.StateDir
		}
		return nil
	})
	if err == nil {
		return c, nil
	}
	err = allWrong(ctx, path)
	store := revisionsOf(stateDir)
	list, listErr := store.List()
	last := latest(list)
	if listErr != nil || last == nil {
		return nil, err
	}
	r, getErr := store.Get(last.Number)
	if getErr != nil {
		return nil, err
	}
	if c, parseErr := config.Parse(path, []byte(r.Text)); parseErr == nil {
		return c, nil
	}
	return nil, err
}

// choose finds what to start with. It is called after changes that were not final are
// undone, which may have chosen.
func (d *daemon) choose(ctx context.Context) error {
	list, err := d.host.revisions.List()
	if err != nil {
		slog.Error("revisions cannot be read", "err", err)
	}
	file, fileErr := d.prepareFile(ctx)
	n, why := d.other(list, file, fileErr)
	if n == 0 {
		if plan, _ := d.state(); plan != nil {
			return nil
		}
		d.host.notice = ""
		d.setPlan(file)
		return fileErr
	}
	p, err := d.prepareRevision(ctx, n)
	if err != nil {
		slog.Error("a revision cannot be put in force", "revision", n, "err", err)
		d.setPlan(file)
		return fileErr
	}
	slog.Warn("not the files but a revision is put in force", "revision", n, "why", why)
	d.host.notice = fmt.Sprintf("revision %d is in force, not the files: %s", n, why)
	d.setPlan(p)
	return nil
}

// other is the number of the revision to start with in place of the files, and why; 0 if it
// is the files.
func (d *daemon) other(list []revision.Summary, file *enforce.Plan, fileErr error) (int, string) {
	if pending := d.host.engine.Pending(); pending != nil && pending.Phase == reconcile.Waiting {
		i := slices.IndexFunc(list, func(r revision.Summary) bool { return r.Change == pending.ID })
		if i >= 0 && fileErr == nil {
			if is, err := d.host.revisions.Is(list[i].Number, file.Config.Text, file.Text); err == nil && is {
				return 0, ""
			}
		}
		if i >= 0 {
			return list[i].Number, whyWaits
		}
	}
	last := latest(list)
	if last == nil {
		return 0, ""
	}
	if fileErr != nil {
		return last.Number, fileErr.Error()
	}
	same, err := d.host.revisions.Same(file.Config.Text, file.Text)
	if err != nil {
		slog.Error("revisions cannot be read", "err", err)
	}
	if len(same) == 0 || slices.Contains(same, last.Number) {
		return 0, "" // edited since, or in force
	}
	i := slices.IndexFunc(list, func(r revision.Summary) bool { return r.Number == same[0] })
	if last.Back == 0 && list[i].Fate == revision.Applied && !list[i].Runtime {
		return 0, "" // edited back: they were others' when the last one was applied
	}
	return last.Number, fmt.Sprintf("they are those of revision %d (%s)", same[0], list[i].Outcome())
}

// prepareFile prepares the files for the dataplane. An error is all that is wrong with them; what is wrong
// with the rest of the host alone is none.
func (d *daemon) prepareFile(ctx context.Context) (p *enforce.Plan, err error) {
	_, err = config.Load(d.path, func(c *config.Config) (err error) {
		p, err = enforce.Prepare(ctx, c)
		return err
	})
	if err != nil {
		return nil, allWrong(ctx, d.path)
	}
	return p, nil
}

func (d *daemon) prepareRevision(ctx context.Context, n int) (*enforce.Plan, error) {
	r, err := d.host.revisions.Get(n)
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(d.path, []byte(r.Text))
	if err != nil {
		return nil, err
	}
	return enforce.PrepareText(ctx, c, r.Ruleset)
}
