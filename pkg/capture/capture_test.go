// SPDX-License-Identifier: GPL-2.0-only

package capture

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/randomizedcoder/l2d/internal/testframe"
	"github.com/randomizedcoder/l2d/pkg/explain"
)

// TestRead: packets of files in both formats.
func TestRead(t *testing.T) {
	want, err := hex.DecodeString("0200000000010200000000020800450000140001000040013ce7c0000201c0000202")
	if err != nil {
		t.Fatal(err)
	}
	info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(want), Length: len(want)}
	var old, ng bytes.Buffer
	w := pcapgo.NewWriter(&old)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	nw, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len(want))
	for _, b := range [][]byte{first, want} {
		if err := w.WritePacket(info, b); err != nil {
			t.Fatal(err)
		}
		if err := nw.WritePacket(info, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := nw.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a.pcap": old.Bytes(), "a.pcapng": ng.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 2)
		if err != nil || !got.Ethernet || !bytes.Equal(got.Frame, want) || got.Before != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := Read(path, 3); err == nil || !strings.Contains(err.Error(), "there are 2") {
			t.Errorf("%s: packet 3: %v", name, err)
		}
	}
}

// TestFragments: the fragments of a datagram that came before are there, too.
func TestFragments(t *testing.T) {
	frames := [][]byte{
		testframe.Fragment(7, 0, true), testframe.Fragment(8, 0, true), testframe.Fragment(7, 8, true), {0x60}, testframe.Fragment(7, 16, false),
	}
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	c, err := read(&b, 5)
	if err != nil || len(c.Before) != 2 || !bytes.Equal(c.Before[0], frames[0]) || !bytes.Equal(c.Before[1], frames[2]) {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzRead: no file makes the reader fail otherwise than by an error, nor keep more than it may.
func FuzzRead(f *testing.F) {
	for _, ng := range []bool{false, true} {
		var b bytes.Buffer
		p := testframe.Fragment(7, 0, true)
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(p), Length: len(p)}
		if ng {
			w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeRaw)
			if err != nil {
				f.Fatal(err)
			}
			if err := errors.Join(w.WritePacket(info, p), w.WritePacket(info, p), w.Flush()); err != nil {
				f.Fatal(err)
			}
		} else {
			w := pcapgo.NewWriter(&b)
			if err := errors.Join(w.WriteFileHeader(65535, layers.LinkTypeRaw), w.WritePacket(info, p), w.WritePacket(info, p)); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes(), 2)
	}
	f.Fuzz(func(t *testing.T, b []byte, number int) {
		c, err := read(bytes.NewReader(b), number)
		if err != nil {
			return
		}
		if len(c.Before) > explain.MostBefore {
			t.Errorf("%d fragments are kept", len(c.Before))
		}
	})
}
