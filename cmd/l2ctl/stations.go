// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/hostapd"
)

type stationsCmd struct {
	Follow bool `help:"Print what happens to stations and radios, until it is interrupted." short:"f"`
	JSON   bool `help:"Print JSON; with --follow an object a line." name:"json"`
}

// Run implements the command.
func (c *stationsCmd) Run(e *env) error {
	if c.Follow {
		return c.follow(e)
	}
	list, err := e.client.Stations(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	return printStations(e, list)
}

func (c *stationsCmd) follow(e *env) error {
	enc := json.NewEncoder(e.out)
	err := e.client.StationEvents(e.ctx, func(v hostapd.Event) error {
		if c.JSON {
			return enc.Encode(&v)
		}
		_, err := fmt.Fprintln(e.out, strings.Join(strings.Fields(time.Now().Format(time.TimeOnly)+" "+v.Interface+" "+v.Name+" "+v.MAC+" "+v.Detail), " "))
		return err
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func printStations(e *env, list []hostapd.Report) error {
	for _, r := range list {
		var err error
		switch {
		case r.Error != "":
			_, err = fmt.Fprintf(e.out, "%s: %s\n", r.Interface, r.Error)
		default:
			_, err = fmt.Fprintf(e.out, "%s: %q on channel %d (%d MHz), %s%s, stations: %d\n", r.Interface, r.SSID, r.Channel, r.Frequency, strings.ToLower(r.State), inUse(r.Airtime), len(r.Stations))
		}
		if err != nil {
			return err
		}
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.out, "There are no radios.")
		return err
	}
	t := newTable(e.out)
	t.row("RADIO", "STATION", "ADDRESSES", "NAME", "SIGNAL", "RECEIVES", "SENDS", "BYTES IN", "OUT", "RETRIES", "FAILED", "CONNECTED", "SECURITY")
	for _, r := range list {
		for _, s := range r.Stations {
			security := s.Security
			if !s.Authorized {
				security = "not yet"
			}
			t.row(r.Interface, s.MAC, cmp.Or(addresses(s.Addresses), "-"), cmp.Or(s.Name, "-"), dbm(s.Signal), mbit(s.ReceiveRate), mbit(s.SendRate),
				s.Received, s.Sent, s.Retries, s.Failed, s.Connected, cmp.Or(security, "-"))
		}
	}
	return t.Flush()
}

// inUse is which share of the time a channel was in use.
func inUse(a *hostapd.Airtime) string {
	if a == nil || a.Active <= 0 {
		return ""
	}
	return fmt.Sprintf(", %d%% busy", 100*a.Busy/a.Active)
}

func addresses(list []netip.Addr) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}

func dbm(v int) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%d dBm", v)
}

func mbit(rate int) string {
	if rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f Mbit/s", float64(rate)/1e6)
}
