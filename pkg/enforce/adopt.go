// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/internal/durable"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

// adoptedFile, in the directory of the control socket, lists the tables of the
// kernel's nftables that the dataplane enforces in the kernel's place: one
// "family handle name" a line. They are dormant, or about to be: the note is
// written first. A dormant table that is not noted was so before.
const adoptedFile = "nftables-adopted"

// readKernel reads the kernel's ruleset without what stays with the kernel:
// tables of other families, and dormant ones but for those that are adopted.
func (p *Plan) readKernel(ctx context.Context) error {
	rs, err := nft.ReadKernel(ctx)
	if err != nil {
		return err
	}
	adopted, err := readAdopted(p.Config.Control.RunDir())
	if err != nil {
		return err
	}
	p.Ruleset = rs
	var errs []error
	rs.Tables = slices.DeleteFunc(rs.Tables, func(t *nft.Table) bool {
		return t.Family == nft.FamilyARP || t.Family == nft.FamilyBridge || isMirror(t) || t.Dormant && !adopted.has(t)
	})
	for _, t := range rs.Tables {
		switch {
		case t.Dormant:
			p.asleep = append(p.asleep, t)
		case t.Filters():
			p.awake = append(p.awake, t)
		}
		if t.Owned && t.Filters() {
			errs = append(errs, &RulesetError{File: config.KernelRuleset, Err: fmt.Errorf("table %v belongs to the process that made it (flags owner), so that l2d cannot take its place:"+
				" have that process make it without the flag; for firewalld, NftablesTableOwner=no in firewalld.conf", t)})
		}
		// What is enforced is what the table says when it is awake.
		t.Dormant = false
	}
	return errors.Join(errs...)
}

// Adopt has the kernel stop enforcing the tables that the plan was made from:
// the dataplane does, already. The error is [nft.ErrChanged], and nothing has
// changed, if the ruleset is another one by now. It returns the generation of
// the ruleset with the tables asleep.
func (p *Plan) Adopt() (generation uint32, err error) {
	var adopted adoptedTables
	for _, t := range slices.Concat(p.asleep, p.awake) {
		adopted = append(adopted, adoptedTable{t.Family, t.Handle, t.Name})
	}
	generation = p.Ruleset.Generation
	// First the note: what is noted and awake does no harm.
	if err := adopted.write(p.Config.Control.RunDir()); err != nil {
		return generation, err
	}
	if len(p.awake) == 0 {
		return generation, nil
	}
	if err := nft.SetDormant(p.awake, true, generation); err != nil {
		return generation, fmt.Errorf("put tables to sleep: %w", err)
	}
	return nextGeneration(generation), nil
}

// nextGeneration is the number of the transaction after one: the kernel leaves
// out 0.
func nextGeneration(g uint32) uint32 {
	if g++; g == 0 {
		g = 1
	}
	return g
}

// wakeTries is how often waking is tried while others change the ruleset.
const wakeTries = 20

// Wake has the kernel enforce the adopted tables again, and returns which it
// were, each "family name". The note of them goes with it.
func Wake(ctx context.Context, runDir string) ([]string, error) {
	adopted, err := readAdopted(runDir)
	if err != nil || adopted == nil {
		return nil, err
	}
	for range wakeTries {
		rs, err := nft.ListTables(ctx)
		if err != nil {
			return nil, err
		}
		rs.Tables = slices.DeleteFunc(rs.Tables, func(t *nft.Table) bool { return !adopted.has(t) })
		names := tableNames(rs)
		asleep := slices.DeleteFunc(rs.Tables, func(t *nft.Table) bool { return !t.Dormant })
		err = nft.SetDormant(asleep, false, rs.Generation)
		switch {
		case err == nil:
			return names, durable.Remove(filepath.Join(runDir, adoptedFile))
		case !errors.Is(err, nft.ErrChanged):
			return nil, fmt.Errorf("wake tables: %w", err)
		}
	}
	return nil, nft.ErrChanged
}

// HasAdopted tells whether tables of the kernel's are noted as adopted.
func HasAdopted(runDir string) bool {
	_, err := os.Stat(filepath.Join(runDir, adoptedFile))
	return err == nil
}

// Adopted returns what tells whether a table of the kernel's is noted as adopted.
func Adopted(runDir string) (func(*nft.Table) bool, error) {
	adopted, err := readAdopted(runDir)
	return adopted.has, err
}

// adoptedTable is a table as it is noted.
type adoptedTable struct {
	family nft.Family
	handle uint64
	name   string
}

type adoptedTables []adoptedTable

func (a adoptedTables) has(t *nft.Table) bool {
	return slices.Contains(a, adoptedTable{t.Family, t.Handle, t.Name})
}

// write replaces the note.
func (a adoptedTables) write(runDir string) error {
	var b strings.Builder
	for _, t := range a {
		fmt.Fprintf(&b, "%v %d %s\n", t.family, t.handle, t.name)
	}
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(runDir, adoptedFile)
	return durable.WriteFile(path, []byte(b.String()))
}

// readAdopted returns nil if nothing was noted.
func readAdopted(runDir string) (adoptedTables, error) {
	path := filepath.Join(runDir, adoptedFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	adopted := adoptedTables{}
	for line := range strings.Lines(string(text)) {
		var family string
		var t adoptedTable
		if _, err := fmt.Sscanf(line, "%s %d", &family, &t.handle); err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", path, line, err)
		}
		if t.family, err = nft.ParseFamily(family); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		fields := strings.SplitN(strings.TrimRight(line, "\n"), " ", 3)
		t.name = fields[len(fields)-1]
		adopted = append(adopted, t)
	}
	return adopted, nil
}
