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

	"github.com/mdlayher/wifi"
	"github.com/vishvananda/netlink"

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
	Airtime  *Airtime `json:"airtime,omitempty"`
	Stations []Client `json:"stations"`
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
	// Connected is how long it has been associated, Inactive since when nothing was heard. In JSON
	// these are nanoseconds.
	Connected time.Duration `json:"connected"`
	Inactive  time.Duration `json:"inactive"`
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
	seen := k.stations(e.Interface)
	for i := range list {
		r.Stations = append(r.Stations, k.client(&list[i], seen[list[i].MAC]))
	}
	slices.SortFunc(r.Stations, func(a, b Client) int { return cmp.Compare(a.MAC, b.MAC) })
	return r
}

// kernel is what the kernel says of radios, as far as it does.
type kernel struct {
	c          *wifi.Client // nil: it has none
	links      map[string]*wifi.Interface
	neighbours map[string][]netip.Addr
}

func newKernel() *kernel {
	k := &kernel{links: map[string]*wifi.Interface{}, neighbours: Neighbours()}
	c, err := wifi.New()
	if err != nil {
		return k
	}
	k.c = c
	links, _ := c.Interfaces()
	for _, l := range links {
		k.links[l.Name] = l
	}
	return k
}

// Neighbours are the addresses that the kernel knows of stations and other hosts, by MAC address in lower case.
func Neighbours() map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	list, _ := netlink.NeighList(0, netlink.FAMILY_ALL) // of a link that is gone meanwhile there is nothing to say
	for _, n := range list {
		a, ok := netip.AddrFromSlice(n.IP)
		const known = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
		if ok && n.State&known != 0 {
			mac := n.HardwareAddr.String()
			out[mac] = append(out[mac], a.Unmap())
		}
	}
	return out
}

func (k *kernel) close() {
	if k.c != nil {
		_ = k.c.Close()
	}
}

// stations are those of a radio by their address.
func (k *kernel) stations(link string) map[string]*wifi.StationInfo {
	out := map[string]*wifi.StationInfo{}
	if l := k.links[link]; l != nil {
		list, _ := k.c.StationInfo(l) // none
		for _, s := range list {
			out[s.HardwareAddr.String()] = s
		}
	}
	return out
}

// airtime is that of a frequency; nil if it is not known.
func (k *kernel) airtime(link string, mhz int) *Airtime {
	l := k.links[link]
	if l == nil {
		return nil
	}
	list, _ := k.c.SurveyInfo(l) // not every driver has it
	for _, s := range list {
		if s.Frequency == mhz && s.InUse && s.ChannelTime > 0 {
			return &Airtime{Active: s.ChannelTime, Busy: s.ChannelTimeBusy, Receive: s.ChannelTimeRx, Send: s.ChannelTimeTx, Noise: s.Noise}
		}
	}
	return nil
}

// client is a station as hostapd and, if that is not nil, the kernel know it.
func (k *kernel) client(s *Station, seen *wifi.StationInfo) Client {
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
	}
	return c
}
