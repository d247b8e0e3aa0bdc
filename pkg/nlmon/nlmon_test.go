// SPDX-License-Identifier: GPL-2.0-only

package nlmon

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var radio = flag.Bool("nlmon.radio", false, "TestRadio: have a radio in this machine, which is for nothing else")

// TestFile: tcpdump reads what is written.
func TestFile(t *testing.T) {
	var b bytes.Buffer
	b.Write(fileHeader())
	data := binary.NativeEndian.AppendUint32(nil, 16)
	data = append(data, make([]byte, 12)...)
	if err := writePacket(&b, time.Unix(1000000000, 5000), unix.PACKET_OUTGOING, unix.NETLINK_GENERIC, data, len(data)); err != nil {
		t.Fatal(err)
	}
	if b.Len() != 24+16+cookedLen+16 {
		t.Errorf("%d bytes", b.Len())
	}
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tcpdump", "-Z", "root", "-nn", "-tttt", "-r", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "link-type NETLINK") || !strings.Contains(string(out), "000005 ") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWanted(t *testing.T) {
	message := func(kind uint16) []byte {
		return binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint32(nil, 16), kind)
	}
	full := func(kind uint16) []byte { return append(message(kind), make([]byte, 10)...) }
	for _, c := range []struct {
		protocol uint16
		data     []byte
		want     bool
	}{
		{unix.NETLINK_GENERIC, full(33), true},
		{unix.NETLINK_GENERIC, full(unix.GENL_ID_CTRL), true},
		{unix.NETLINK_GENERIC, full(34), false},
		{unix.NETLINK_ROUTE, full(33), false},
		{unix.NETLINK_GENERIC, message(33), false},
		{unix.NETLINK_GENERIC, nil, false},
	} {
		if wanted(c.protocol, c.data, 33) != c.want {
			t.Errorf("protocol %d, %v: not %v", c.protocol, c.data, c.want)
		}
	}
}

// ns gives the test a network namespace of its own.
func ns(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// TestCapture: a question about a family is in the capture, from when it is ready, and the interface is gone
// when it has ended. A kernel that cannot do it says so.
func TestCapture(t *testing.T) {
	ns(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	asked := 0
	// nlctrl is the family that there always is.
	stats, err := Capture(ctx, "nlctrl", 2, &out, func() {
		c, err := genetlink.Dial(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		if _, err := c.GetFamily("nlctrl"); err != nil {
			t.Error(err)
		}
		asked++
	})
	if _, gone := netlink.LinkByName(linkName); gone == nil {
		t.Errorf("%s is still there", linkName)
	}
	if err != nil && strings.Contains(err.Error(), "CONFIG_NLMON") && asked == 0 {
		t.Skip(err)
	}
	if err != nil || stats.Messages != 2 || asked != 1 {
		t.Fatalf("%+v, %v", stats, err)
	}
	if !bytes.Contains(out.Bytes(), []byte("nlctrl\x00")) {
		t.Error("the question is not in the file")
	}
}

// sought is a buffer that says when it has something.
type sought struct {
	bytes.Buffer
	text  []byte
	found func()
}

func (s *sought) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if bytes.Contains(s.Bytes(), s.text) {
		s.found()
	}
	return n, err
}

// TestRadio: what iw asks and the kernel answers about a radio is in the capture, which tcpdump reads.
func TestRadio(t *testing.T) {
	if !*radio {
		t.Skip("changes the whole machine: -nlmon.radio, in a virtual one")
	}
	if out, err := exec.Command("modprobe", "mac80211_hwsim", "radios=1").CombinedOutput(); err != nil {
		t.Fatalf("this kernel has no radio: %s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := sought{text: []byte("wlan0\x00"), found: cancel}
	stats, err := Capture(ctx, "nl80211", 0, &out, func() {
		if text, err := exec.Command("iw", "dev", "wlan0", "info").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	})
	if err != nil || stats.Messages < 2 || !bytes.Contains(out.Bytes(), out.text) {
		t.Fatalf("%+v, %v", stats, err)
	}
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("tcpdump", "-Z", "root", "-nn", "-r", path).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "link-type NETLINK") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestInterrupted: who ends a capture leaves nothing behind.
func TestInterrupted(t *testing.T) {
	ns(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Capture(ctx, "nlctrl", 0, io.Discard, cancel)
	if err != nil && strings.Contains(err.Error(), "CONFIG_NLMON") {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
	if _, gone := netlink.LinkByName(linkName); gone == nil {
		t.Errorf("%s is still there", linkName)
	}
	if _, err := Capture(t.Context(), "nosuch", 0, io.Discard, func() {}); err == nil || !strings.Contains(err.Error(), "this kernel has no nosuch") {
		t.Error(err)
	}
}
