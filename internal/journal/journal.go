// SPDX-License-Identifier: GPL-2.0-only

// Package journal logs to systemd's journal.
package journal

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
	slogjournal "github.com/systemd/slog-journal"
)

// Prefix is what the names of fields begin with: the journal has a meaning for some others.
const Prefix = "L2D_"

// TakesStderr tells whether the journal gets what is written to standard error.
func TakesStderr() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// handler writes entries with a field for each attribute. Their message has the attributes,
// too: most of those who read it do not ask for fields.
type handler struct {
	prefix       string // of fields' names
	fields, text slog.Handler
	line         *line
}

// line is what text writes to, of one entry at a time.
type line struct {
	sync.Mutex
	bytes.Buffer
}

// New returns a handler of entries of at least a level. It is an error if there is no journal.
func New(level slog.Leveler) (slog.Handler, error) {
	fields, err := slogjournal.NewHandler(&slogjournal.Options{Level: level})
	if err != nil {
		return nil, err
	}
	return newHandler(fields, level), nil
}

func newHandler(fields slog.Handler, level slog.Leveler) *handler {
	h := &handler{prefix: Prefix, fields: fields, line: &line{}}
	h.text = slog.NewTextHandler(h.line, &slog.HandlerOptions{Level: level, ReplaceAttr: attributeOnly})
	return h
}

// field is an attribute by the name and as the text of its field.
func (h *handler) field(a slog.Attr) slog.Attr {
	return slog.String(h.prefix+name(a.Key), a.Value.Resolve().String())
}

// name is a name of capitals, digits and underscores, which the journal takes.
func name(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, key)
}

// attributeOnly leaves out what the journal has of each entry.
func attributeOnly(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.fields.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Lock()
	h.line.Reset()
	err := h.text.Handle(ctx, r)
	attributes := strings.TrimSpace(h.line.String())
	h.line.Unlock()
	if err != nil {
		return err
	}
	entry := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	if attributes != "" {
		entry.Message += " " + attributes
	}
	r.Attrs(func(a slog.Attr) bool {
		entry.AddAttrs(h.field(a))
		return true
	})
	return h.fields.Handle(ctx, entry)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	fields := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		fields[i] = h.field(a)
	}
	return &handler{h.prefix, h.fields.WithAttrs(fields), h.text.WithAttrs(attrs), h.line}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(group string) slog.Handler {
	return &handler{h.prefix + name(group) + "_", h.fields, h.text.WithGroup(group), h.line}
}
