// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
)

// Where a kernel image for x86 says what it has, as the boot protocol defines it.
const (
	bzSetupSects    = 0x1f1
	bzMagic         = 0x202
	bzPayloadOffset = 0x248
	bzPayloadLength = 0x24c
	bzHeaderEnd     = 0x250
	bzSector        = 512
)

// packed are the ways in which Debian's kernels are compressed: how the data
// begins, and what unpacks it. Behind the data is its unpacked size, 4 bytes,
// which is part of the format with gzip alone.
var packed = []struct {
	magic   string
	command []string
	tail    int
}{
	{"\x28\xb5\x2f\xfd", []string{"zstd", "-dc", "-q"}, 4},
	{"\xfd7zXZ\x00", []string{"xz", "-dc"}, 4},
	{"\x1f\x8b", []string{"gzip", "-dc"}, 0},
}

// unpackKernel writes the ELF file that is packed in a bzImage: a machine that is
// emulated starts it seconds sooner than it would unpack it.
func unpackKernel(image, out string) error {
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	if len(b) < bzHeaderEnd || string(b[bzMagic:bzMagic+4]) != "HdrS" {
		return fmt.Errorf("%s: no kernel image", image)
	}
	sectors := int(b[bzSetupSects])
	if sectors == 0 {
		sectors = 4 // as it was before there was a number
	}
	begin := (sectors+1)*bzSector + int(binary.LittleEndian.Uint32(b[bzPayloadOffset:]))
	end := begin + int(binary.LittleEndian.Uint32(b[bzPayloadLength:]))
	if begin >= end || end > len(b) {
		return fmt.Errorf("%s: payload at %d to %d of %d bytes", image, begin, end, len(b))
	}
	payload := b[begin:end]
	for _, p := range packed {
		if !bytes.HasPrefix(payload, []byte(p.magic)) {
			continue
		}
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd := exec.Command(p.command[0], p.command[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(payload[:len(payload)-p.tail]), f, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %s: %w", image, p.command[0], err)
		}
		return f.Close()
	}
	return fmt.Errorf("%s: packed in an unknown way: % x", image, payload[:min(8, len(payload))])
}
