// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
)

// openPrograms opens all programs that are pinned in a directory, none if there
// is no such directory.
func openPrograms(dir string) (_ map[string]*ebpf.Program, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	programs := map[string]*ebpf.Program{}
	defer func() {
		if err != nil {
			closePrograms(programs)
		}
	}()
	for _, e := range entries {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(dir, e.Name()), nil)
		if err != nil {
			return nil, fmt.Errorf("pinned program %s: %w", filepath.Join(dir, e.Name()), err)
		}
		programs[e.Name()] = p
	}
	return programs, nil
}

func closePrograms(programs map[string]*ebpf.Program) {
	for _, p := range programs {
		p.Close()
	}
}

// keep returns the running program if it is the part, of the same policy and
// build, else nil: it has the same maps, and the same constants. There is nothing
// to verify then.
func (p part) keep(running *ebpf.Program) (*ebpf.Program, error) {
	if running == nil {
		return nil, nil
	}
	info, err := running.Info()
	if err != nil {
		return nil, err
	}
	ids, ok := info.MapIDs()
	if !ok {
		return nil, nil
	}
	left := p.references()
	for _, id := range ids {
		name, err := p.find(id, left)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return nil, nil
		}
		delete(left, name)
	}
	if len(left) > 0 {
		return nil, nil
	}
	return running.Clone()
}

// references are the maps that the part's instructions name.
func (p part) references() map[string]*ebpf.Map {
	maps := map[string]*ebpf.Map{}
	for _, ins := range p.spec.Programs[p.program].Instructions {
		if name := ins.Reference(); ins.IsLoadFromMap() && name != "" {
			maps[name] = p.maps[name]
		}
	}
	return maps
}

// find returns which of the maps the one with an id is, or is as good as.
func (p part) find(id ebpf.MapID, maps map[string]*ebpf.Map) (string, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return "", err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return "", err
	}
	for name, want := range maps {
		wanted, err := want.Info()
		if err != nil {
			return "", err
		}
		wantedID, _ := wanted.ID()
		if wantedID == id {
			return name, nil
		}
		if !isPrivateMap(name) || info.Name != wanted.Name || m.ValueSize() != want.ValueSize() {
			continue
		}
		if !isConstant(name) {
			return name, nil
		}
		if same, err := sameContents(m, want); same || err != nil {
			return name, err
		}
	}
	return "", nil
}

// isConstant tells the private maps whose contents the verifier has relied on.
func isConstant(name string) bool { return strings.Contains(name, ".rodata") }

func sameContents(a, b *ebpf.Map) (bool, error) {
	x, err := a.LookupBytes(uint32(0))
	if err != nil {
		return false, err
	}
	y, err := b.LookupBytes(uint32(0))
	return bytes.Equal(x, y), err
}
