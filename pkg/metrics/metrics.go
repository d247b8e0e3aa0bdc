// SPDX-License-Identifier: GPL-2.0-only

// Package metrics serves the state of the dataplane to Prometheus. Everything is
// read from the kernel when it is scraped; nothing is sampled in between. Nothing
// walks the table of flows: how many there are is what the dataplane's collector
// of dead ones has found.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say what is served beyond the dataplane, its interfaces and the qdiscs.
type Options struct {
	// Rules has a series for each rule of the ruleset.
	Rules bool
	// Collectors are those of other parts of the daemon: to add metrics of a
	// service, write one and name it here.
	Collectors []prometheus.Collector
}

// Serve answers GET /metrics on listen, an IP address and port, until ctx ends.
// It returns when it listens; a later failure is logged.
func Serve(ctx context.Context, listen string, s Source, o Options, log *slog.Logger) error {
	h, err := Handler(s, o, log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics: server ended", "err", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

// Handler answers a scrape.
func Handler(s Source, o Options, log *slog.Logger) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		NewCollector(s, log), NewQdiscCollector(log), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, o.Collectors...)
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	if o.Rules {
		return newWithRules(reg, s, log), nil
	}
	return promhttp.HandlerFor(reg, handlerOptions), nil
}

// handlerOptions are those of each answer.
var handlerOptions = promhttp.HandlerOpts{MaxRequestsInFlight: 2}
