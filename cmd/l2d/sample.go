// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/observe"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// talkersKept is how long what is known of flows is kept when nobody looks.
const talkersKept = time.Minute

// Sample implements api.Service.
func (d *daemon) Sample(ctx context.Context) (*observe.Sample, error) {
	s, err := d.Quick(ctx)
	if err != nil {
		return nil, err
	}
	radios, err := d.Stations(ctx)
	if err != nil {
		return nil, err
	}
	for i := range radios {
		addRadio(s, &radios[i])
	}
	if s.Attached {
		s.Hosts, s.Talkers, err = d.talkers.Top(s.Time)
	}
	return s, err
}

// addRadio adds a radio, its stations, and what waits for them.
func addRadio(s *observe.Sample, r *hostapd.Report) {
	if r.Error != "" {
		return // its service is not well, and says so
	}
	radio := observe.Radio{Interface: r.Interface, Channel: r.Channel, Stations: len(r.Stations)}
	if a := r.Airtime; a != nil {
		radio.Active, radio.Busy = uint64(a.Active), uint64(a.Busy)
	}
	s.Radios = append(s.Radios, radio)
	queue := observe.Queue{Interface: r.Interface, Kind: "mac80211", Parent: "stations", Delay: -1}
	if r.Pending != nil {
		queue.Delay = r.Pending.Seconds()
	}
	known := r.Pending != nil
	for i := range r.Stations {
		c := &r.Stations[i]
		s.Stations = append(s.Stations, observe.Station{
			Radio: r.Interface, MAC: c.MAC, Name: cmp.Or(c.Name, firstOf(c.Addresses)), Signal: c.Signal, SendRate: c.SendRate,
			Received: c.Received, Sent: c.Sent, Retries: uint64(c.Retries), Airtime: uint64(c.ReceiveAirtime + c.SendAirtime),
		})
		if q := c.Queue; q != nil {
			known = true
			queue.Backlog, queue.Packets = queue.Backlog+q.Backlog, queue.Packets+q.Packets
			queue.Drops, queue.Marks = queue.Drops+q.Drops, queue.Marks+q.Marks
		}
	}
	if known {
		s.Queues = append(s.Queues, queue)
	}
}

func firstOf(list []netip.Addr) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].String()
}

// Quick implements web.Source: it is Sample without hosts and flows.
func (d *daemon) Quick(ctx context.Context) (*observe.Sample, error) {
	st, err := d.Status(ctx)
	if err != nil {
		return nil, err
	}
	s := &observe.Sample{Time: time.Now()}
	if st.Attached {
		if s, err = observe.Collect(&st.Dataplane); err != nil {
			return nil, err
		}
	}
	s.Attached, s.Version, s.Problems = st.Attached, st.Version, problems(&st)
	s.Host, _ = os.Hostname()
	for _, v := range d.services.Statuses(ctx) {
		state := "ended"
		if v.Running {
			state = "runs"
		}
		if v.Error != "" {
			state = "not well"
			s.Problems = append(s.Problems, v.Name+": "+v.Error)
		}
		s.Services = append(s.Services, observe.Service{Name: v.Name, State: state, Text: cmp.Or(v.Error, v.Detail)})
	}
	return s, nil
}

// problems are what the operator should know first.
func problems(st *api.Status) (list []string) {
	if st.ReloadError != "" {
		list = append(list, "the last reload was refused: "+st.ReloadError)
	}
	if st.Sync != nil && st.Sync.Error != "" {
		list = append(list, "the ruleset in force is not that of nftables: "+st.Sync.Error)
	}
	if h := st.Host; h != nil {
		switch {
		case h.Error != "":
			list = append(list, "the host is not as declared: "+h.Error)
		case len(h.Drift) > 0:
			list = append(list, fmt.Sprintf("%d of %d resources of the host are not as declared any more", len(h.Drift), h.Resources))
		}
		switch {
		case h.Pending == nil:
		case h.Pending.Phase == reconcile.Stuck:
			list = append(list, "a change of the host could not be undone: "+h.Pending.ID)
		default:
			list = append(list, "a change of the host waits for its confirmation: "+h.Pending.ID)
		}
	}
	return list
}

// forgetTalkers gives memory back when nobody looks any more.
func (d *daemon) forgetTalkers(ctx context.Context) {
	every(ctx, talkersKept, "", func() error {
		d.talkers.Forget(time.Now(), talkersKept)
		return nil
	})
}
