// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Report is a radio with its stations.
type Report struct {
	Interface string `json:"interface"`
	// Error is why the rest is not known.
	Error string `json:"error,omitempty"`
	SSID  string `json:"ssid,omitempty"`
	// State is hostapd's: ENABLED on air.
	State string `json:"state,omitempty"`
	// Channel is the primary one, Frequency its in MHz.
	Channel   int `json:"channel,omitempty"`
	Frequency int `json:"frequency,omitempty"`
	// Airtime is how the channel was used; nil if the driver does not tell.
	Airtime *Airtime `json:"airtime,omitempty"`
	// Pending is the airtime that what the device has been given still takes, as mac80211's
	// airtime queue limits (AQL) know it: in JSON nanoseconds. nil if the kernel does not tell.
	Pending  *time.Duration `json:"pending,omitempty"`
	Stations []Client       `json:"stations"`
}

// Airtime is how long a radio was on its channel, and how long of that it was busy, for
// whatever reason, received and sent. The driver decides from when on it counts. In JSON these are nanoseconds.
type Airtime struct {
	Active  time.Duration `json:"active"`
	Busy    time.Duration `json:"busy"`
	Receive time.Duration `json:"receive"`
	Send    time.Duration `json:"send"`
	// Noise in dBm; 0 is not known.
	Noise int `json:"noise,omitempty"`
}

// Client is a station.
type Client struct {
	MAC string `json:"mac"`
	// Addresses are those that the kernel knows for the MAC, from neighbour discovery.
	Addresses []netip.Addr `json:"addresses"`
	// Name is that of its lease, or of another of its addresses; empty if there is none.
	Name string `json:"name,omitempty"`
	// Authorized: it may send. Security is how it has authenticated.
	Authorized bool   `json:"authorized"`
	Security   string `json:"security,omitempty"`
	// Signal in dBm, averaged where the driver does that; 0 is not known.
	Signal int `json:"signal,omitempty"`
	// ReceiveRate and SendRate in bits a second.
	ReceiveRate int `json:"receive_rate,omitempty"`
	SendRate    int `json:"send_rate,omitempty"`
	// Received and Sent are bytes from and to the station.
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
	// Retries and Failed are frames to it that were sent again, and given up.
	Retries int `json:"retries"`
	Failed  int `json:"failed"`
	// ReceiveAirtime and SendAirtime are how long the radio has received from it and sent to it. In JSON
	// these are nanoseconds.
	ReceiveAirtime time.Duration `json:"receive_airtime"`
	SendAirtime    time.Duration `json:"send_airtime"`
	// Queue is where frames to it wait; nil if the driver has queues of its own.
	Queue *StationQueue `json:"queue,omitempty"`
	// Connected is how long it has been associated, Inactive since when nothing was heard. In JSON
	// these are nanoseconds.
	Connected time.Duration `json:"connected"`
	Inactive  time.Duration `json:"inactive"`
}

// StationQueue is mac80211's queue of a station, of all its traffic: what waits, and what was sent,
// dropped and marked with CE since the station has been associated.
type StationQueue struct {
	Backlog uint64 `json:"backlog"` // bytes
	Packets uint64 `json:"packets"`
	Drops   uint64 `json:"drops"`
	Marks   uint64 `json:"marks"`
}

// Endpoint is where the hostapd of a radio is.
type Endpoint struct {
	Interface string
	// Control is the directory of its control interface, Own that of the other end's sockets.
	Control, Own string
}

// Endpoints are those of a configuration's radios.
func Endpoints(c *config.Config, dirs service.Dirs) (out []Endpoint) {
	h := c.Services.Hostapd
	if h == nil {
		return nil
	}
	for i := range h.Radios {
		out = append(out, endpoint(h, &h.Radios[i], dirs))
	}
	return out
}

func endpoint(h *config.Hostapd, r *config.Radio, dirs service.Dirs) Endpoint {
	e := Endpoint{r.Interface, h.ControlDir, clientDir(dirs)}
	if h.Mode != config.ModeWatch {
		e.Control = filepath.Join(dirs.Of(unitName(r)), "control")
	}
	return e
}

// clientDir is the directory of l2d's ends of control interfaces.
func clientDir(dirs service.Dirs) string { return filepath.Join(dirs.Run, "hostapd-clients") }

// RemoveSockets removes those that an earlier process has left. It is called before there are any.
func RemoveSockets(dirs service.Dirs) error { return os.RemoveAll(clientDir(dirs)) }

// Dial is the control interface.
func (e *Endpoint) Dial() *Control { return Dial(e.Control, e.Interface, e.Own) }

// Survey asks hostapd and the kernel about radios and their stations.
func Survey(ctx context.Context, list []Endpoint) []Report {
	out := make([]Report, len(list))
	kernel := newKernel()
	defer kernel.close()
	for i := range list {
		out[i] = survey(ctx, &list[i], kernel)
	}
	return out
}

func survey(ctx context.Context, e *Endpoint, k *kernel) Report {
	r := Report{Interface: e.Interface, Stations: []Client{}}
	c := e.Dial()
	defer func() { _ = c.Close() }()
	s, err := c.Status(ctx)
	var list []Station
	if err == nil {
		list, err = c.Stations(ctx)
	}
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.SSID, r.State, r.Channel, r.Frequency = s.SSID, s.State, s.Channel, s.Frequency
	r.Airtime = k.airtime(e.Interface, s.Frequency)
	if t, ok := pendingAirtime("/", e.Interface); ok {
		r.Pending = &t
	}
	seen := k.stationsOf(e.Interface)
	for i := range list {
		var info *station
		if s, ok := seen[list[i].MAC]; ok {
			info = &s
		}
		r.Stations = append(r.Stations, k.client(&list[i], info))
	}
	slices.SortFunc(r.Stations, func(a, b Client) int { return cmp.Compare(a.MAC, b.MAC) })
	return r
}

// client is a station as hostapd and, if that is not nil, the kernel know it.
func (k *kernel) client(s *Station, seen *station) Client {
	c := Client{
		MAC: s.MAC, Addresses: slices.Clone(k.neighbours[s.MAC]), Authorized: slices.Contains(s.Flags, "AUTHORIZED"), Security: s.Security(),
		Signal: s.Signal, Received: s.Received, Sent: s.Sent, Connected: s.Connected, Inactive: s.Inactive,
	}
	slices.SortFunc(c.Addresses, netip.Addr.Compare)
	c.Addresses = slices.Compact(c.Addresses)
	if c.Addresses == nil {
		c.Addresses = []netip.Addr{} // [] and not null
	}
	if seen != nil {
		c.Signal = cmp.Or(seen.SignalAverage, seen.Signal, c.Signal)
		c.ReceiveRate, c.SendRate = seen.ReceiveBitrate, seen.TransmitBitrate
		c.Retries, c.Failed = seen.TransmitRetries, seen.TransmitFailed
		c.ReceiveAirtime, c.SendAirtime, c.Queue = seen.use.receive, seen.use.send, seen.use.queue
	}
	return c
}
