// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// radios are where the hostapd of each radio is, as the configuration in force has it.
func (d *daemon) radios() []hostapd.Endpoint {
	c := d.config()
	return hostapd.Endpoints(c, service.DirsOf(c))
}

// Stations implements api.Service.
func (d *daemon) Stations(ctx context.Context) ([]hostapd.Report, error) {
	list := hostapd.Survey(ctx, d.radios())
	for i := range list {
		for j := range list[i].Stations {
			s := &list[i].Stations[j]
			for _, a := range s.Addresses {
				s.Name = cmp.Or(s.Name, d.names.Of(a))
			}
		}
	}
	return list, nil
}

// StationEvents implements api.Service.
func (d *daemon) StationEvents(ctx context.Context, ready func() error, yield func(hostapd.Event) error) error {
	return d.stations.Listen(ctx, ready, yield)
}

// radioInterval is how often it is looked which radios there are: a configuration can have others.
const radioInterval = 5 * time.Second

// followStations has the events of all radios logged, and given to who listens, until ctx ends.
func (d *daemon) followStations(ctx context.Context) {
	follows := map[hostapd.Endpoint]context.CancelFunc{}
	for ctx.Err() == nil {
		there := map[hostapd.Endpoint]bool{}
		for _, e := range d.radios() {
			if there[e] = true; follows[e] == nil {
				own, stop := context.WithCancel(ctx)
				follows[e] = stop
				go hostapd.Listen(own, e.Control, e.Interface, e.Own, func() {}, d.stationEvent)
			}
		}
		for e, stop := range follows {
			if !there[e] {
				stop()
				delete(follows, e)
			}
		}
		sleep(ctx, radioInterval)
	}
	for _, stop := range follows {
		stop()
	}
}

// stationWords are what is logged of events.
var stationWords = map[string]struct {
	text  string
	level slog.Level
}{
	hostapd.StationConnected:    {"station connected", slog.LevelInfo},
	hostapd.StationDisconnected: {"station gone", slog.LevelInfo},
	hostapd.PasswordMismatch:    {"station with another passphrase", slog.LevelWarn},
	hostapd.APEnabled:           {"radio on air", slog.LevelInfo},
	hostapd.APDisabled:          {"radio off air", slog.LevelWarn},
	hostapd.SwitchFinished:      {"radio on another channel", slog.LevelInfo},
	hostapd.RadarDetected:       {"radar on the radio's channel", slog.LevelWarn},
}

func (d *daemon) stationEvent(e hostapd.Event) {
	d.stations.Tell(e)
	words, ok := stationWords[e.Name]
	if !ok {
		slog.Debug("event of hostapd", "radio", e.Interface, "event", e.Name, "station", e.MAC, "detail", e.Detail)
		return
	}
	args := []any{"radio", e.Interface}
	if e.MAC != "" {
		args = append(args, "station", e.MAC)
	}
	if e.Detail != "" {
		args = append(args, "detail", e.Detail)
	}
	slog.Log(context.Background(), words.level, words.text, args...)
}
