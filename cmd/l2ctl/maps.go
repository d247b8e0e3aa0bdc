// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"

	"github.com/randomizedcoder/l2d/loader"
)

type mapsCmd struct {
	PinPath string `help:"Where the dataplane is pinned." default:"${pin_path}" type:"path" placeholder:"DIR"`
	JSON    bool   `help:"Print a JSON array." name:"json"`
}

// Run implements the command.
func (c *mapsCmd) Run(e *env) error {
	list, err := loader.PinnedMapInfos(c.PinPath)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	var memory uint64
	t := newTable(e.out)
	t.row("MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "MOST", "KB", "WHAT IT IS")
	for _, m := range list {
		entries := "-"
		if m.Entries != nil {
			entries = fmt.Sprint(*m.Entries)
		}
		t.row(m.Name, m.Type, m.KeySize, m.ValueSize, entries, m.Max, m.Memory>>10, m.What)
		memory += m.Memory
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%d maps, %d KB\n", len(list), memory>>10)
	return err
}
