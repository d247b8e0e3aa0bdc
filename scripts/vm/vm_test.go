// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestUnpackKernel(t *testing.T) {
	want := bytes.Repeat([]byte("kernel "), 1000)
	var payload bytes.Buffer
	z := gzip.NewWriter(&payload)
	z.Write(want)
	z.Close()
	const sectors, offset = 3, 17
	image := make([]byte, (sectors+1)*bzSector+offset)
	image[bzSetupSects] = sectors
	copy(image[bzMagic:], "HdrS")
	binary.LittleEndian.PutUint32(image[bzPayloadOffset:], offset)
	binary.LittleEndian.PutUint32(image[bzPayloadLength:], uint32(payload.Len()))
	image = append(append(image, payload.Bytes()...), "behind it"...)

	in, out := filepath.Join(t.TempDir(), "bzImage"), filepath.Join(t.TempDir(), "vmlinux")
	try := func(image []byte) error {
		if err := os.WriteFile(in, image, 0o600); err != nil {
			t.Fatal(err)
		}
		return unpackKernel(in, out)
	}
	if err := try(image); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, not %d; %v", len(got), len(want), err)
	}
	for name, broken := range map[string][]byte{
		"no header":  image[:bzMagic],
		"short":      image[:len(image)-payload.Len()],
		"no magic":   slices.Concat(image[:bzMagic], []byte("xxxx"), image[bzMagic+4:]),
		"other data": slices.Concat(image[:(sectors+1)*bzSector], make([]byte, 4096)),
	} {
		if err := try(broken); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestArchive has cpio's format read by tar's library, where there is bsdtar.
func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.add("d", 0o040755, nil)
	a.add("d/file", 0o100644, []byte("content"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 || !bytes.Contains(b.Bytes(), []byte("TRAILER!!!\x00")) {
		t.Errorf("%d bytes:\n%q", b.Len(), b.Bytes())
	}
	bsdtar, err := exec.LookPath("bsdtar")
	if err != nil {
		t.Skip("no bsdtar")
	}
	cmd := exec.Command(bsdtar, "-xOf", "-", "d/file")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "content" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestComplaints(t *testing.T) {
	const log = `[    1.0] clocksource: a WARNING of no kind
[    2.0] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2
[    3.0] WARNING: net/core/dev.c:1 at f+0x1/0x2, CPU#0: ip/1
[    4.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!
[    5.0] BUG: scheduling while atomic: ip/1/0x0
[    6.0] Oops: general protection fault
`
	if got := complaints([]byte(log)); len(got) != 4 {
		t.Errorf("%q", got)
	}
}
