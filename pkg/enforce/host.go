// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The oldest kernel that has all that the programs call: TCX links (6.6), and
// bpf_timer and kfuncs of the collector in the form that is used (6.12).
const (
	kernelMajor = 6
	kernelMinor = 12
)

// capabilities that reading, loading and attaching take.
var capabilities = []struct {
	bit  int
	name string
	why  string
}{
	{unix.CAP_BPF, "CAP_BPF", "load programs and maps"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "let the verifier accept the dataplane's pointers"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach to interfaces"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "read the ruleset in a network namespace of its own"},
}

// CheckHost tells what the host lacks to run the dataplane: all of it, in one
// error.
func CheckHost() error {
	var errs []error
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		errs = append(errs, fmt.Errorf("uname: %w", err))
	} else {
		errs = append(errs, checkKernel(unix.ByteSliceToString(u.Release[:])))
	}
	errs = append(errs, checkCapabilities())
	if _, err := exec.LookPath("nft"); err != nil {
		errs = append(errs, errors.New("the program nft was not found in PATH: want nftables 1.0.6 or newer"))
	}
	return errors.Join(errs...)
}

// checkKernel refuses a release, as uname -r prints it, that is too old.
func checkKernel(release string) error {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = rest[:i]
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("kernel %q: the version is not understood: want %d.%d or newer", release, kernelMajor, kernelMinor)
	}
	if a < kernelMajor || a == kernelMajor && b < kernelMinor {
		return fmt.Errorf("kernel %s is too old: want %d.%d or newer", release, kernelMajor, kernelMinor)
	}
	return nil
}

// checkCapabilities refuses a process without one of capabilities.
func checkCapabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	return missingCapabilities(uint64(data[1].Effective)<<32 | uint64(data[0].Effective))
}

func missingCapabilities(effective uint64) error {
	var errs []error
	for _, c := range capabilities {
		if effective&(1<<c.bit) == 0 {
			errs = append(errs, fmt.Errorf("missing capability %s, which it takes to %s: want to be run by root", c.name, c.why))
		}
	}
	return errors.Join(errs...)
}

// defaultBPFFS is where the kernel's documentation has the BPF file system.
const defaultBPFFS = "/sys/fs/bpf"

// EnsureBPFFS mounts a BPF file system at /sys/fs/bpf when pinPath is below it
// and none is there. For another path it only checks.
func EnsureBPFFS(pinPath string) error {
	dir := pinPath
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		switch {
		case err == nil && st.Type == unix.BPF_FS_MAGIC:
			return nil
		case err == nil && !below(pinPath, defaultBPFFS):
			return fmt.Errorf("pin path %s is not on a BPF file system: want a path below %s, or a file system mounted with mount -t bpf", pinPath, defaultBPFFS)
		case err == nil:
			return mountBPFFS()
		case !errors.Is(err, unix.ENOENT):
			return fmt.Errorf("pin path %s: %w", pinPath, err)
		}
		dir = filepath.Dir(dir)
	}
}

func mountBPFFS() error {
	if err := os.MkdirAll(defaultBPFFS, 0o700); err != nil {
		return fmt.Errorf("mount a BPF file system: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RELATIME)
	if err := unix.Mount("bpf", defaultBPFFS, "bpf", flags, "mode=700"); err != nil {
		return fmt.Errorf("mount a BPF file system at %s: %w", defaultBPFFS, err)
	}
	if !inFirstMountNamespace() {
		slog.Warn("the BPF file system is mounted in a mount namespace that ends with its last process, and the dataplane with it;"+
			" `ip netns exec` makes such a namespace, `nsenter --net` does not", "path", defaultBPFFS)
	}
	return nil
}

// inFirstMountNamespace tells whether this process sees the mounts that the
// system's first process sees.
func inFirstMountNamespace() bool {
	mine, err1 := os.Readlink("/proc/self/ns/mnt")
	first, err2 := os.Readlink("/proc/1/ns/mnt")
	return err1 != nil || err2 != nil || mine == first
}

// below tells whether path is dir or inside it. Both are clean.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
