// SPDX-License-Identifier: GPL-2.0-only

// Command sbom prints what programs were built from, as the Go linker has noted it in
// them: a software bill of materials in CycloneDX 1.5, without times or random numbers.
//
//	go run ./scripts/sbom bin/l2d bin/l2ctl >l2d.cdx.json
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type bom struct {
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

func main() {
	out, err := read(os.Args[1:])
	if err == nil {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func read(files []string) (*bom, error) {
	out := &bom{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	seen := map[string]component{}
	for _, file := range files {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, err
		}
		out.Metadata.Component = component{Type: "application", Name: "l2d", Version: setting(info, "vcs.revision"), PURL: "pkg:golang/" + info.Main.Path}
		version := strings.TrimPrefix(info.GoVersion, "go")
		seen["std"] = component{Type: "library", Name: "std", Version: version, PURL: "pkg:golang/std@" + version}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			seen[m.Path] = component{Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version, Hashes: hashes(m)}
		}
	}
	for _, c := range seen {
		out.Components = append(out.Components, c)
	}
	slices.SortFunc(out.Components, func(a, b component) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// hashes are those of go.sum: SHA-256 of the list of a module's files with theirs.
func hashes(m *debug.Module) []hash {
	sum, ok := strings.CutPrefix(m.Sum, "h1:")
	b, err := base64.StdEncoding.DecodeString(sum)
	if !ok || err != nil {
		return nil
	}
	return []hash{{"SHA-256", hex.EncodeToString(b)}}
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
