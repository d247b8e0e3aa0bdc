// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bufio"
	"fmt"
	"io"
)

// archive writes an initial RAM file system: cpio's newc format, which needs no
// privilege to write. Errors show at close.
type archive struct {
	w     *bufio.Writer
	inode int
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20)}
}

// add writes an entry; mode has the file type's bits of stat(2).
func (a *archive) add(name string, mode uint32, data []byte) {
	a.inode++
	const links = 1
	fmt.Fprint(a.w, "070701")
	for _, field := range []uint32{
		uint32(a.inode), mode, 0, 0, links, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name) + 1), 0,
	} {
		fmt.Fprintf(a.w, "%08X", field)
	}
	const header = 6 + 13*8
	a.w.WriteString(name + "\x00")
	a.pad(header + len(name) + 1)
	a.w.Write(data)
	a.pad(len(data))
}

func (a *archive) pad(n int) {
	for ; n%4 != 0; n++ {
		a.w.WriteByte(0)
	}
}

func (a *archive) close() error {
	a.add("TRAILER!!!", 0, nil)
	return a.w.Flush()
}
