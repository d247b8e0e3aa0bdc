// SPDX-License-Identifier: GPL-2.0-only

// Package buildinfo says what a program was built from.
package buildinfo

import (
	"fmt"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/randomizedcoder/l2d/loader"
)

// Text is what --version prints: the version, the commit, the layout of flows and the
// compiler.
func Text(name, version string) string {
	commit := "unknown"
	goVersion := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		changed := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = ", changed"
			}
		}
		commit += changed
	}
	layout, err := loader.Fingerprint()
	if err != nil {
		layout = err.Error()
	}
	return fmt.Sprintf("%s %s\ncommit %s\nlayout of flows %s\n%s\n", name, version, commit, layout, goVersion)
}

// Flag is --version. The variable "version" has the version.
type Flag bool

// BeforeReset is called by kong when the flag is given.
func (Flag) BeforeReset(app *kong.Kong, vars kong.Vars) error {
	fmt.Fprint(app.Stdout, Text(app.Model.Name, vars["version"]))
	app.Exit(0)
	return nil
}
