// SPDX-License-Identifier: GPL-2.0-only

package revision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Keep is how many revisions there are at most: older ones go.
const Keep = 50

// Fate is what became of a revision.
type Fate string

// Fates.
const (
	Pending Fate = "pending" // it waits for its confirmation
	Applied Fate = "applied"
	Undone  Fate = "undone"
)

// Revision is a configuration that was applied.
type Revision struct {
	// Number counts from 1, also over those that have gone.
	Number  int       `json:"number"`
	Time    time.Time `json:"time"`
	Comment string    `json:"comment,omitempty"`
	Fate    Fate      `json:"fate"`
	// Change is the identifier of the change of the host that it was, if it had to
	// be confirmed.
	Change string `json:"change,omitempty"`
	// Text is the configuration file.
	Text string `json:"text"`
}

// Store is a directory of revisions. Its methods may be called concurrently.
type Store struct {
	dir string
	mu  sync.Mutex
}

// Open returns the store in a directory, which is made with the first revision.
func Open(dir string) *Store { return &Store{dir: dir} }

const suffix = ".json"

// numbers of the revisions there are, in order.
func (s *Store) numbers() ([]int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("revisions: %w", err)
	}
	var out []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if n, err := strconv.Atoi(name); ok && err == nil && n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (s *Store) path(n int) string { return filepath.Join(s.dir, strconv.Itoa(n)+suffix) }

// Add keeps another revision: the next number and the time are filled in.
func (s *Store) Add(r Revision) (Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.numbers()
	if err != nil {
		return r, err
	}
	r.Number, r.Time = 1, time.Now()
	if len(list) > 0 {
		r.Number = list[len(list)-1] + 1
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return r, fmt.Errorf("revisions: %w", err)
	}
	if err := s.write(&r); err != nil {
		return r, err
	}
	for len(list) >= Keep {
		if err := os.Remove(s.path(list[0])); err != nil {
			return r, fmt.Errorf("revisions: %w", err)
		}
		list = list[1:]
	}
	return r, nil
}

// write replaces a revision in one step.
func (s *Store) write(r *Revision) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	// No secret is in the file, but the directory is root's all the same.
	temporary := s.path(r.Number) + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("revisions: %w", err)
	}
	if err := os.Rename(temporary, s.path(r.Number)); err != nil {
		return fmt.Errorf("revisions: %w", err)
	}
	return nil
}

// Get returns a revision. One that there is not is fs.ErrNotExist.
func (s *Store) Get(n int) (*Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(n)
}

func (s *Store) get(n int) (*Revision, error) {
	b, err := os.ReadFile(s.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("revision %d: %w", n, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("revisions: %w", err)
	}
	var r Revision
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(n), err)
	}
	r.Number = n
	return &r, nil
}

// List returns all revisions, the newest first.
func (s *Store) List() ([]Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	out := make([]Revision, 0, len(numbers))
	for _, n := range slices.Backward(numbers) {
		r, err := s.get(n)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// Settle notes what became of the revision that was a change of the host. One that
// is not known is none of the store's.
func (s *Store) Settle(change string, fate Fate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(numbers) {
		r, err := s.get(n)
		if err != nil {
			return err
		}
		if r.Change == change && change != "" {
			r.Fate = fate
			return s.write(r)
		}
	}
	return nil
}
