// SPDX-License-Identifier: GPL-2.0-only

package llama

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// flags knows which flags a program takes: they change from build to build. What a program
// says is asked again when its file is another one.
type flags struct {
	mu   sync.Mutex
	help map[string]help
}

// help is what a program says of its flags.
type help struct {
	file  os.FileInfo
	flags map[string]string // what comes behind a flag, on the line that explains it
}

func newFlags() *flags { return &flags{help: map[string]help{}} }

// helpTime bounds a question: a build for a GPU looks for it first.
const helpTime = 20 * time.Second

// of returns the flags of a program; without any if it cannot be asked.
func (f *flags) of(ctx context.Context, program string) (map[string]string, error) {
	info, err := os.Stat(program)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.help[program]; ok && os.SameFile(h.file, info) && h.file.ModTime().Equal(info.ModTime()) {
		return h.flags, nil
	}
	ctx, cancel := context.WithTimeout(ctx, helpTime)
	defer cancel()
	text, err := service.Run(ctx, program, "--help")
	if err != nil {
		return nil, fmt.Errorf("%s --help: %w", program, err)
	}
	h := help{info, parseHelp(text)}
	f.help[program] = h
	return h.flags, nil
}

var (
	flagLine = regexp.MustCompile(`^-{1,2}[a-zA-Z]`)
	flagWord = regexp.MustCompile(`^(-{1,2}[a-zA-Z0-9][-a-zA-Z0-9_]*),?$`)
)

// parseHelp finds flags in lines such as "-fa,   --flash-attn [on|off|auto]    set ...".
func parseHelp(text string) map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(text) {
		if !flagLine.MatchString(l) {
			continue
		}
		words := strings.Fields(l)
		n := 0
		for n < len(words) && flagWord.MatchString(words[n]) {
			n++
		}
		behind := ""
		if n < len(words) {
			behind = words[n]
		}
		for _, w := range words[:n] {
			out[strings.TrimSuffix(w, ",")] = behind
		}
	}
	return out
}

// has tells whether a program takes a flag. Of one that cannot be asked, no.
func (f *flags) has(program, flag string) bool {
	known, err := f.of(context.Background(), program)
	_, ok := known[flag]
	return err == nil && ok
}

// flashAttention is the flag of it in a program's spelling: older builds have a switch, off by
// default, newer ones want a word, and have auto.
func (f *flags) flashAttention(program, word string) []string {
	const flag = "--flash-attn"
	known, err := f.of(context.Background(), program)
	behind := known[flag]
	switch {
	case err != nil || strings.Contains(behind, "auto"):
		return []string{flag, word}
	case word == "on":
		return []string{flag}
	}
	return nil
}

// check refuses flags of a command line that the program does not take.
func (f *flags) check(ctx context.Context, argv []string) error {
	known, err := f.of(ctx, argv[0])
	if err != nil {
		return err
	}
	for _, a := range argv[1:] {
		if _, ok := known[a]; strings.HasPrefix(a, "--") && !ok {
			return fmt.Errorf("%s takes no %s: another version of llama.cpp is needed", argv[0], a)
		}
	}
	return nil
}
