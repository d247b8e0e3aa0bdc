// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// AQMKind is the name of [AQM].
const AQMKind = "aqm"

// Attributes of it. Limits of airtime have the access category behind their name.
const (
	aqlPrefix       = "aql " // LOW HIGH, in µs
	aqlThresholdKey = "aql_threshold"
	airtimeKey      = "airtime"
	fqPrefix        = "fq_"
)

// AQM is the kind of the queues that mac80211 has for the stations of a radio: fq_codel,
// the limits of what the device may hold, and whose turn it is. A resource has the interface's name; interfaces of
// a radio share the queues.
type AQM struct {
	// Root is / but in tests.
	Root string
}

// Name implements [reconcile.Kind].
func (*AQM) Name() string { return AQMKind }

// radioDir is the directory of debugfs of the radio that an interface is of.
func radioDir(root, link string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "sys/class/net", link, "phy80211/name"))
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "sys/kernel/debug/ieee80211", strings.TrimSpace(string(b))), nil
}

// aqmFile is the file that an attribute is in.
func aqmFile(key string) string {
	switch {
	case strings.HasPrefix(key, aqlPrefix):
		return "aql_txq_limit"
	case strings.HasPrefix(key, fqPrefix):
		return "aqm"
	case key == airtimeKey:
		return "airtime_flags"
	}
	return key
}

// Check implements [reconcile.Kind].
func (k *AQM) Check(ctx context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	if isForeign(k.Root, r.Name) {
		return foreignProblem(r)
	}
	dir, err := radioDir(k.Root, r.Name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := os.Stat(filepath.Join(k.Root, "sys/class/net", r.Name)); e != nil {
			return []reconcile.Problem{linkProblem(r, AQMKind, err)}
		}
		return []reconcile.Problem{{Resource: r, Problem: "the interface is not one of a radio", Want: "host.qdiscs for its queues"}}
	}
	if err != nil {
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	if _, err := os.Stat(dir); err != nil {
		return []reconcile.Problem{{Resource: r, Problem: "debugfs, where mac80211 has it, is not mounted", Want: "mount -t debugfs debugfs /sys/kernel/debug"}}
	}
	for _, key := range r.Want.Keys() {
		if _, err := k.Observe(ctx, r.Name, []string{key}); err != nil {
			p := reconcile.Problem{Resource: r, Key: key, Problem: "the kernel does not have it for this radio: " + aqmFile(key) + " in debugfs (CONFIG_MAC80211_DEBUGFS)", Skip: true}
			if !errors.Is(err, fs.ErrNotExist) {
				p.Problem = err.Error()
			}
			out = append(out, p)
		}
	}
	return out
}

// Observe implements [reconcile.Kind].
func (k *AQM) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	dir, err := radioDir(k.Root, name)
	if err != nil {
		return nil, err
	}
	out, files := reconcile.State{}, map[string]reconcile.State{}
	for _, key := range keys {
		file := aqmFile(key)
		if _, read := files[file]; !read {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				return nil, err
			}
			files[file] = parseAQM(file, string(b))
		}
		v, ok := files[file][key]
		if !ok {
			return nil, fmt.Errorf("%s of %s has no %s: %w", file, name, key, fs.ErrNotExist)
		}
		out[key] = v
	}
	return out, nil
}

// parseAQM reads a file of mac80211 in debugfs.
func parseAQM(file, text string) reconcile.State {
	out := reconcile.State{}
	if file == aqmFile(airtimeKey) {
		var words []string
		for _, word := range []string{config.AirtimeTX, config.AirtimeRX} {
			if strings.Contains(text, "AIRTIME_"+strings.ToUpper(word)) {
				words = append(words, word)
			}
		}
		out[airtimeKey] = airtimeText(words)
		return out
	}
	for line := range strings.Lines(text) {
		switch f := strings.Fields(line); {
		case file == aqlThresholdKey && len(f) == 1:
			out[file] = f[0]
		case file == "aqm" && len(f) == 3 && f[0] == "RW": // RW fq_limit 8192
			out[f[1]] = f[2]
		case file == aqmFile(aqlPrefix) && len(f) == 3: // VO 5000 12000
			out[aqlPrefix+strings.ToLower(f[0])] = f[1] + " " + f[2]
		}
	}
	return out
}

// airtimeText is the value for what counts of airtime.
func airtimeText(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}

// Same implements [reconcile.Kind].
func (*AQM) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (*AQM) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (k *AQM) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (k *AQM) Set(_ context.Context, name string, to reconcile.State) error {
	dir, err := radioDir(k.Root, name)
	if err != nil {
		return err
	}
	for _, key := range to.Keys() {
		v, err := aqmText(key, to[key])
		if err == nil {
			err = write(filepath.Join(dir, aqmFile(key)), v)
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", key, name, err)
		}
	}
	return nil
}

// aqmText is what is written for an attribute's value.
func aqmText(key, value string) (string, error) {
	ac, limit := strings.CutPrefix(key, aqlPrefix)
	switch {
	case limit:
		n := slices.Index(config.AccessCategories, ac)
		if n < 0 {
			return "", errors.New("no such access category")
		}
		return fmt.Sprintf("%d %s", n, value), nil
	case key == airtimeKey:
		flags := 0
		for _, word := range strings.Fields(value) {
			switch word { // AIRTIME_USE_TX, AIRTIME_USE_RX
			case config.AirtimeTX:
				flags |= 1
			case config.AirtimeRX:
				flags |= 2
			}
		}
		return strconv.Itoa(flags), nil
	case strings.HasPrefix(key, fqPrefix):
		return key + " " + value, nil
	}
	return value, nil
}

// aqmWant is what a configuration declares of a radio's queues.
func aqmWant(a *config.AQM) reconcile.State {
	want := reconcile.State{}
	for ac, l := range a.Limits {
		want[aqlPrefix+ac] = fmt.Sprintf("%d %d", l.Low, l.High)
	}
	if a.Airtime != nil {
		want[airtimeKey] = airtimeText(a.Airtime)
	}
	for key, n := range map[string]uint32{
		aqlThresholdKey: a.Threshold, fqPrefix + "limit": a.Limit, fqPrefix + "memory_limit": a.MemoryLimit, fqPrefix + "quantum": a.Quantum,
	} {
		if n != 0 {
			want[key] = strconv.FormatUint(uint64(n), 10)
		}
	}
	return want
}
