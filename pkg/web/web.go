// SPDX-License-Identifier: GPL-2.0-only

// Package web is a page that shows a router: what l2ctl top shows, with the last
// hours, its rules and its flows. It changes nothing, and needs nothing from elsewhere.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

//go:embed static
var static embed.FS

// Source is what is shown.
type Source interface {
	// Sample has all, Quick what needs no walk of the flow table.
	Sample(ctx context.Context) (*observe.Sample, error)
	Quick(ctx context.Context) (*observe.Sample, error)
	RuleCounts(ctx context.Context) ([]api.Rule, error)
	Flows(ctx context.Context, f flow.Filter) ([]flow.Flow, error)
}

const (
	// every is how often a point of the history is made.
	every = 10 * time.Second
	// mostFlows is how many a search shows.
	mostFlows = 500
)

// server answers the page.
type server struct {
	source  Source
	log     *slog.Logger
	history history
	// busy holds those back who search flows: one at a time walks the table.
	busy chan struct{}
}

// Serve shows a source to those who know the token, on an IP address and port, until
// ctx ends. It returns when it listens; a later failure is logged.
func Serve(ctx context.Context, listen, token string, s Source, log *slog.Logger) error {
	if len(token) < MinToken {
		return fmt.Errorf("web: the token has %d characters: want at least %d", len(token), MinToken)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	w := &server{source: s, log: log, busy: make(chan struct{}, 1)}
	srv := &http.Server{
		Handler: w.handler(newGuard(token)), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go w.record(ctx)
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("web: server ended", "err", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

// record makes the history.
func (w *server) record(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if s, err := w.source.Quick(ctx); err == nil {
			w.history.add(s)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *server) handler(g *guard) http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // it is embedded
	}
	data := http.NewServeMux()
	w.answer(data, "GET /data/sample", func(r *http.Request) (any, error) { return w.source.Sample(r.Context()) })
	w.answer(data, "GET /data/history", func(*http.Request) (any, error) { return w.history.series(), nil })
	w.answer(data, "GET /data/rules", func(r *http.Request) (any, error) { return w.source.RuleCounts(r.Context()) })
	w.answer(data, "GET /data/flows", w.flows)

	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("POST /login", g.login)
	mux.Handle("GET /data/", g.only(data))
	return headers(mux)
}

// headers have browsers do nothing that the page does not.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (w *server) answer(mux *http.ServeMux, pattern string, do func(*http.Request) (any, error)) {
	mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
		v, err := do(r)
		if err != nil {
			code := http.StatusInternalServerError
			var e *api.Error
			if errors.As(err, &e) {
				code = e.Status
			}
			http.Error(rw, err.Error(), code)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(rw).Encode(v); err != nil {
			w.log.Debug("web: an answer was not sent", "err", err)
		}
	})
}

// found are the flows of a search.
type found struct {
	Total int         `json:"total"`
	Flows []flow.Flow `json:"flows"`
}

// flows searches by what somebody typed: an address, a prefix, a port, or a protocol.
func (w *server) flows(r *http.Request) (any, error) {
	select {
	case w.busy <- struct{}{}:
		defer func() { <-w.busy }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	var f flow.Filter
	if q := r.URL.Query().Get("q"); q != "" {
		key := "proto"
		if _, err := netip.ParseAddr(q); err == nil {
			key = "addr"
		} else if _, err := netip.ParsePrefix(q); err == nil {
			key = "addr"
		} else if q[0] >= '0' && q[0] <= '9' {
			key = "port"
		}
		if err := f.Set(key, q); err != nil {
			return nil, api.BadInput(err)
		}
	}
	list, err := w.source.Flows(r.Context(), f)
	return found{len(list), append([]flow.Flow{}, list[:min(len(list), mostFlows)]...)}, err
}
