// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
)

// movingSuffix is that of a pin between two names: names may have been swapped.
const movingSuffix = "_moving"

// followNames gives the pinned links of interfaces that were renamed the names
// of today, so that their programs are replaced and not taken away. A link is
// found by the index of its interface: also one that was left between names.
func (r *replacement) followNames() error {
	dir := filepath.Join(r.cfg.PinPath, dirLinks)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, i := range r.cfg.Interfaces {
		names[i.Index] = i.Name
		if i.Shaper != nil {
			names[i.Shaper.EndIndex] = i.Shaper.End
		}
	}
	wrong := map[string]string{} // from, to
	for _, e := range entries {
		base := strings.TrimSuffix(e.Name(), movingSuffix)
		hook := base[strings.LastIndex(base, "_")+1:]
		index, err := pinnedIndex(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("pinned link %s: %w", e.Name(), err)
		}
		if name, ok := names[index]; ok && e.Name() != name+"_"+hook {
			wrong[e.Name()] = name + "_" + hook
		}
	}
	if err := renameAll(dir, wrong); err != nil {
		return err
	}
	if len(wrong) > 0 {
		back := make(map[string]string, len(wrong))
		for from, to := range wrong {
			back[to] = from
		}
		r.undos = append(r.undos, func() error { return renameAll(dir, back) })
	}
	return nil
}

// pinnedIndex is the index of the interface of a pinned link; 0 if it has gone.
func pinnedIndex(path string) (int, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, err
	}
	return linkIndex(info), nil
}

// renameAll renames files of a directory, of which one may have the name that
// another is to get.
func renameAll(dir string, names map[string]string) error {
	var errs []error
	for from, to := range names {
		if moving := to + movingSuffix; from != moving {
			errs = append(errs, os.Rename(filepath.Join(dir, from), filepath.Join(dir, moving)))
		}
	}
	for _, to := range names {
		errs = append(errs, os.Rename(filepath.Join(dir, to+movingSuffix), filepath.Join(dir, to)))
	}
	return errors.Join(errs...)
}
