// SPDX-License-Identifier: GPL-2.0-only

package revision

import (
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/randomizedcoder/l2d/internal/durable"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Keep is how many revisions there are at most: older ones go, but for those that a daemon would start with.
const Keep = 50

// Fate is what became of a revision.
type Fate string

// Fates.
const (
	Pending Fate = "pending" // it waits for its confirmation
	Applied Fate = "applied"
	Undone  Fate = "undone"
	// Damaged: its file cannot be read. Nobody can go back to it, and all others are as they were.
	Damaged Fate = "damaged"
)

// ErrDamaged is what is wrong with a revision that is not as it was kept.
var ErrDamaged = errors.New("damaged")

// Summary is what there is to know of a revision but its files.
type Summary struct {
	// Number counts from 1, also over those that have gone.
	Number int       `json:"number"`
	Time   time.Time `json:"time"`
	// Comment is what was said of it; of one that is damaged, what is wrong with it.
	Comment string `json:"comment,omitempty"`
	Fate    Fate   `json:"fate"`
	// Change is the identifier of the change of the host that it was, if it had to be
	// confirmed.
	Change string `json:"change,omitempty"`
	// Runtime says that it is for one run of the kernel only, which Boot identifies:
	// a later one starts with the revision before it.
	Runtime bool   `json:"runtime,omitempty"`
	Boot    string `json:"boot,omitempty"`
	// Back is the revision that it went back to; 0: it was the files'.
	Back int `json:"back,omitempty"`
}

// Revision is a configuration that was applied.
type Revision struct {
	Summary
	// Text is the configuration file, and Ruleset that of the dataplane, as nft lists
	// it; empty if it is the kernel's.
	Text    string `json:"text"`
	Ruleset string `json:"ruleset,omitempty"`
	// Before is what the host was before it, where it was changed; the latest change first.
	Before []reconcile.Before `json:"before,omitempty"`
}

// Starts tells whether what runs is this revision after a start of the daemon, in a
// run of the kernel: it is the newest one of those that were applied for good or for
// this run.
func (r *Summary) Starts(boot string) bool {
	return r.Fate == Applied && (!r.Runtime || r.Boot == boot)
}

// Outcome is the fate, and whether it was for good.
func (r *Summary) Outcome() string {
	if r.Runtime && r.Fate == Applied {
		return "applied at run time"
	}
	return string(r.Fate)
}

// Store is a directory of revisions. Its methods may be called concurrently.
type Store struct {
	dir string
	mu  sync.Mutex
}

// Open returns the store in a directory, which is made with the first revision.
func Open(dir string) *Store { return &Store{dir: dir} }

// Clean removes what a process has left that was killed while it kept a revision. Nobody may be
// keeping one.
func (s *Store) Clean() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return durable.CleanDir(s.dir)
}

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
	// It is kept. What is of no use any more goes with a later one, if not now.
	if len(list) >= Keep {
		list, err = s.forget(list, r.Boot)
	}
	if err == nil {
		_ = s.tidy(append(list, r.Number))
	}
	return r, nil
}

// forget removes the oldest of some revisions, so that there is room for another one, and returns those that are left.
func (s *Store) forget(list []int, boot string) ([]int, error) {
	stay := s.starting(list, boot)
	for i := 0; len(list) >= Keep; {
		if slices.Contains(stay, list[i]) {
			i++
			continue
		}
		if err := os.Remove(s.path(list[i])); err != nil {
			return list, fmt.Errorf("revisions: %w", err)
		}
		list = slices.Delete(list, i, i+1)
	}
	return list, nil
}

// starting are those of some revisions that a daemon would start with, in this run of the kernel and in another one.
func (s *Store) starting(list []int, boot string) (out []int) {
	const another = ""
	for _, in := range []string{boot, another} {
		for _, n := range slices.Backward(list) {
			// What cannot be read, nobody starts with.
			if r, err := s.read(n); err == nil && r.Starts(in) && (in != another || !r.Runtime) {
				out = append(out, n)
				break
			}
		}
	}
	return out
}

// stored is a revision as it is on disk. Many have the same ruleset, which can be
// large: it is in a file of its own, by its hash.
type stored struct {
	Revision
	Ruleset string `json:"ruleset,omitempty"`
}

const rulesetSuffix = ".nft"

// rulesetFile is the name of that file; empty without a ruleset.
func rulesetFile(ruleset string) string {
	if ruleset == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(ruleset))
	return hex.EncodeToString(sum[:16]) + rulesetSuffix
}

// write replaces a revision in one step.
func (s *Store) write(r *Revision) error {
	on := stored{Revision: *r, Ruleset: rulesetFile(r.Ruleset)}
	if _, err := s.ruleset(on.Ruleset); err != nil {
		if err := s.replace(on.Ruleset, []byte(r.Ruleset)); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(&on, "", "\t")
	if err != nil {
		return err
	}
	return s.replace(filepath.Base(s.path(r.Number)), append(b, '\n'))
}

// ruleset reads a ruleset by the name of its file; that of none is empty.
func (s *Store) ruleset(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path := filepath.Join(s.dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if rulesetFile(string(text)) != name {
		return "", fmt.Errorf("%w: %s: not the ruleset that it was", ErrDamaged, path)
	}
	return string(text), nil
}

// replace writes a file. No secret is in it, but it is root's all the same.
func (s *Store) replace(name string, b []byte) error {
	if err := durable.WriteFile(filepath.Join(s.dir, name), b); err != nil {
		return fmt.Errorf("revisions: %w", err)
	}
	return nil
}

// tidy removes the rulesets that no revision has any more.
func (s *Store) tidy(numbers []int) error {
	used := map[string]bool{}
	for _, n := range numbers {
		if on, err := s.read(n); err == nil { // what is damaged is of no use with its ruleset either
			used[on.Ruleset] = true
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("revisions: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, rulesetSuffix) && !used[name] {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return fmt.Errorf("revisions: %w", err)
			}
		}
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
	on, err := s.read(n)
	if err != nil {
		return nil, err
	}
	if on.Revision.Ruleset, err = s.ruleset(on.Ruleset); err != nil {
		return nil, fmt.Errorf("revision %d is %w", n, err)
	}
	return &on.Revision, nil
}

// read reads a revision without its ruleset.
func (s *Store) read(n int) (stored, error) {
	var on stored
	if err := s.decode(n, &on); err != nil {
		return on, err
	}
	on.Number = n
	return on, nil
}

// decode reads what is wanted of a revision.
func (s *Store) decode(n int, to any) error {
	b, err := os.ReadFile(s.path(n))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no revision %d: %w", n, fs.ErrNotExist)
	}
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		return fmt.Errorf("revision %d is %w: %s: %w", n, ErrDamaged, s.path(n), err)
	}
	return nil
}

// List returns what there is to know of all revisions, the newest first, those that are damaged
// among them.
func (s *Store) List() ([]Summary, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	out := make([]Summary, len(numbers))
	for i, n := range slices.Backward(numbers) {
		r := &out[len(numbers)-1-i]
		if err := s.decode(n, r); err != nil {
			*r = Summary{Time: s.written(n), Fate: Damaged, Comment: err.Error()}
		}
		r.Number = n
	}
	return out, nil
}

// written is when the file of a revision was written last.
func (s *Store) written(n int) (at time.Time) {
	if info, err := os.Stat(s.path(n)); err == nil {
		at = info.ModTime()
	}
	return at
}

// Same returns the numbers of the revisions of some files, the newest first.
func (s *Store) Same(text, ruleset string) (out []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(numbers) {
		if is, err := s.is(n, text, ruleset); err == nil && is { // what is damaged is of no files
			out = append(out, n)
		}
	}
	return out, nil
}

// Is tells whether a revision is one of some files.
func (s *Store) Is(n int, text, ruleset string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is(n, text, ruleset)
}

func (s *Store) is(n int, text, ruleset string) (bool, error) {
	on, err := s.read(n)
	return err == nil && on.Text == text && on.Ruleset == rulesetFile(ruleset), err
}

// Since is what the host was before the revisions behind one that are, or were, in force: the
// latest change first. Of those that are damaged it is not known.
func (s *Store) Since(n int) (out []reconcile.Before, damaged []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, err := s.numbers()
	if err != nil {
		return nil, nil, err
	}
	for _, later := range slices.Backward(numbers) {
		if later <= n {
			break
		}
		switch on, err := s.read(later); {
		case err != nil:
			damaged = append(damaged, later)
		case on.Fate == Applied:
			out = append(out, on.Before...)
		}
	}
	return out, damaged, nil
}

// Change has a revision become another one of the same number.
func (s *Store) Change(n int, change func(*Revision)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.get(n)
	if err != nil {
		return err
	}
	change(r)
	return s.write(r)
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
		on, err := s.read(n)
		if err != nil || on.Change != change || change == "" {
			continue
		}
		r, err := s.get(n)
		if err != nil {
			return err
		}
		r.Fate = fate
		return s.write(r)
	}
	return nil
}
