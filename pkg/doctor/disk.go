// SPDX-License-Identifier: GPL-2.0-only

package doctor

import "fmt"

// How little of a file system may be free, in percent.
const (
	littleFree = 10
	noneFree   = 2
)

func checkDisk(r *report) {
	for _, f := range r.FileSystems {
		r.room(f)
	}
}

func (r *report) room(f FileSystem) {
	percent := func(free, of uint64) uint64 {
		if of == 0 {
			return 100
		}
		return free * 100 / of
	}
	space, files := percent(f.Free, f.Size), percent(f.FreeInodes, f.Inodes)
	evidence := fmt.Sprintf("%s of %s free", sizeText(f.Free), sizeText(f.Size))
	what := "room"
	if files < space {
		what, evidence = "room for files", fmt.Sprintf("%d of %d inodes free", f.FreeInodes, f.Inodes)
	}
	switch least := min(space, files); {
	case least < noneFree:
		r.add(Failure, "room", f.Path+": no "+what+" is left", evidence, "what is large or many there: du -x")
	case least < littleFree:
		r.add(Warning, "room", f.Path+": little "+what+" is left", evidence, "what is large or many there: du -x")
	default:
		r.add(Good, "room", f.Path+": room enough", evidence, "")
	}
}
