// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// store keeps units, secrets and all, for root alone.
type store struct {
	dir string
	mu  sync.Mutex // held while the key is made
	key []byte
}

const (
	keyFile = "key"
	keySize = 32
	// keptUnits is how many units of a service are kept. A pending change needs the one
	// before and the one after it, and those between them that did not start.
	keptUnits = 16
)

// openStore reads the key that the digests are made with, if there is one.
func openStore(dir string) *store {
	s := &store{dir: dir}
	for _, d := range append(s.services(), dir) {
		if err := durable.CleanDir(d); err != nil {
			slog.Warn("what an earlier daemon has not written to its end is left", "err", err)
		}
	}
	if key, err := os.ReadFile(filepath.Join(dir, keyFile)); err == nil && len(key) == keySize {
		s.key = key
	}
	return s
}

// ensure makes the directory and the key. Before it, nothing is kept.
func (s *store) ensure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	if err := durable.WriteFile(filepath.Join(s.dir, keyFile), key); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	s.key = key
	return nil
}

// services are the directories of the services that units are kept of.
func (s *store) services() (dirs []string) {
	entries, _ := os.ReadDir(s.dir) // none
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(s.dir, e.Name()))
		}
	}
	return dirs
}

func (s *store) path(name, id string) string { return filepath.Join(s.dir, name, id+".json") }

// put keeps a unit under its identity.
func (s *store) put(name, id string, u *Unit) error {
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	path := s.path(name, id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(path, b); err != nil {
		return err
	}
	return s.prune(filepath.Dir(path))
}

// get returns a unit; nil if it is not kept.
func (s *store) get(name, id string) *Unit {
	b, err := os.ReadFile(s.path(name, id))
	if err != nil {
		return nil
	}
	var u Unit
	if json.Unmarshal(b, &u) != nil {
		return nil
	}
	return &u
}

// prune removes the oldest units of a service.
func (s *store) prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keptUnits {
		return err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	for i := keptUnits; i < len(infos); i++ {
		err = errors.Join(err, os.Remove(filepath.Join(dir, infos[i].Name())))
	}
	return err
}
