// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
)

func unitPath(name string) string { return filepath.Join(unitDir, unitName(name)) }

// sliceName is the name of a slice's unit. What is below l2d.slice has its name in front, as
// systemd wants it.
func sliceName(slice string) string { return "l2d-" + slice + ".slice" }

// sliceOf is the slice of a unit: one for each daemon, below the one that is declared.
func sliceOf(u *Unit) string {
	daemon := strings.ReplaceAll(u.Daemon, "-", "_")
	if u.Service.Slice == "" {
		return sliceName(daemon)
	}
	return sliceName(u.Service.Slice + "-" + daemon)
}

// unitFile is the file of a service for systemd: systemd.service(5), systemd.exec(5),
// systemd.resource-control(5).
func unitFile(u *Unit) File {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
	}
	b.WriteString("# Made by l2d for the service " + u.Name + ": changes here are undone.\n[Unit]\n")
	line("Description", u.Name+", run by l2d")
	line("StartLimitIntervalSec", "0") // it does not give up
	b.WriteString("\n[Service]\n")
	line("Type", "exec")
	line("ExecStart", quoteAll(u.Argv))
	for _, e := range u.Env {
		line("Environment", quote(e))
	}
	line("User", u.User)
	line("Group", u.Group)
	line("Restart", u.Service.Restart)
	line("RestartSec", "1")
	line("TimeoutStopSec", "10")
	line("Slice", sliceOf(u))
	b.WriteString(limitLines(&u.Service.Limits))
	if n := u.Service.Nice; n != nil {
		line("Nice", fmt.Sprint(*n))
	}
	line("IOSchedulingClass", u.Sandbox.IOClass)
	b.WriteByte('\n')
	b.WriteString(sandboxLines(u))
	return File{Path: unitPath(u.Name), Content: []byte(b.String()), Mode: 0o644}
}

// limitLines are those of a service or a slice.
func limitLines(l *config.Limits) string {
	var b strings.Builder
	if len(l.CPUs) > 0 {
		fmt.Fprintf(&b, "AllowedCPUs=%s\n", cpus.Format(l.CPUs))
	}
	for _, v := range []struct {
		key   string
		value uint64
	}{{"CPUWeight", uint64(l.CPUWeight)}, {"MemoryHigh", l.MemoryHigh}, {"MemoryMax", l.MemoryMax}} {
		if v.value != 0 {
			fmt.Fprintf(&b, "%s=%d\n", v.key, v.value)
		}
	}
	return b.String()
}

// sandboxLines close off all that a unit does not say it needs.
func sandboxLines(u *Unit) string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, value) }
	s := &u.Sandbox
	line("CapabilityBoundingSet", strings.Join(u.Caps, " "))
	if u.User != "" {
		line("AmbientCapabilities", strings.Join(u.Caps, " "))
	}
	for _, key := range []string{
		"NoNewPrivileges", "ProtectHome", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
		"ProtectHostname", "RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality",
	} {
		line(key, "yes")
	}
	line("ProtectSystem", "strict")
	var paths []string
	for _, d := range u.Dirs {
		paths = append(paths, quote(d.Path))
	}
	if paths != nil {
		line("ReadWritePaths", strings.Join(paths, " "))
	}
	line("ProtectKernelTunables", yesNo(!s.Sysctl))
	line("PrivateTmp", yesNo(!s.HostTmp))
	line("MemoryDenyWriteExecute", yesNo(!s.JIT))
	if s.Devices == nil {
		line("PrivateDevices", "yes")
	} else {
		line("DevicePolicy", "closed")
		for _, d := range s.Devices {
			line("DeviceAllow", d+" rw")
		}
	}
	if s.Families != nil {
		line("RestrictAddressFamilies", strings.Join(s.Families, " "))
	}
	line("SystemCallArchitectures", "native")
	line("SystemCallFilter", "@system-service")
	line("SystemCallErrorNumber", "EPERM")
	line("UMask", "0027")
	return b.String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func quoteAll(argv []string) string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(quote(a), "$", "$$")
	}
	return strings.Join(out, " ")
}

// plain are the characters that need no quotes.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+"

// quote is systemd.syntax(7), without specifiers.
func quote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
