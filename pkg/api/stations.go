// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/randomizedcoder/l2d/pkg/hostapd"
)

// Stations are what the daemon does for those who ask about radios and their stations.
type Stations interface {
	Stations(ctx context.Context) ([]hostapd.Report, error)
	// StationEvents calls yield with what happens to stations and radios, until ctx or the
	// daemon ends or yield returns an error. Ready is called when it hears of all.
	StationEvents(ctx context.Context, ready func() error, yield func(hostapd.Event) error) error
}

// stationActions are the requests about stations.
func stationActions(s Stations, log *slog.Logger, mux *http.ServeMux, handle func(pattern string, do action)) {
	handle("GET /v1/stations", func(r *http.Request) (any, error) {
		list, err := s.Stations(r.Context())
		if list == nil {
			list = []hostapd.Report{} // [] and not null
		}
		return list, err
	})
	mux.HandleFunc("GET /v1/stations/events", func(w http.ResponseWriter, r *http.Request) {
		flusher, enc := http.NewResponseController(w), json.NewEncoder(w)
		began := false
		err := s.StationEvents(r.Context(), func() error {
			began = true
			w.Header().Set("Content-Type", "application/x-ndjson")
			return flusher.Flush()
		}, func(e hostapd.Event) error {
			if err := enc.Encode(&e); err != nil {
				return err
			}
			return flusher.Flush()
		})
		if err != nil && !began {
			writeError(w, r, log, err)
		}
	})
}

// Stations returns radios with their stations.
func (c *Client) Stations(ctx context.Context) ([]hostapd.Report, error) {
	var list []hostapd.Report
	return list, c.call(ctx, http.MethodGet, "/v1/stations", nil, &list)
}

// StationEvents calls yield with what happens to stations and radios, until yield returns an
// error, ctx ends or the daemon does.
func (c *Client) StationEvents(ctx context.Context, yield func(hostapd.Event) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/stations/events", nil)
	if err != nil {
		return err
	}
	return eachOf(body, "events of stations", yield)
}
