// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"
)

// Event is something that hostapd tells of.
type Event struct {
	// Interface is the radio's.
	Interface string `json:"interface"`
	// Name is hostapd's, such as AP-STA-CONNECTED.
	Name string `json:"name"`
	// MAC is the address of the station that it is about; empty for none.
	MAC string `json:"mac,omitempty"`
	// Detail is the rest.
	Detail string `json:"detail,omitempty"`
}

// Names of events.
const (
	StationConnected    = "AP-STA-CONNECTED"
	StationDisconnected = "AP-STA-DISCONNECTED"
	PasswordMismatch    = "AP-STA-POSSIBLE-PSK-MISMATCH"
	APEnabled           = "AP-ENABLED"
	APDisabled          = "AP-DISABLED"
	SwitchFinished      = "AP-CSA-FINISHED"
	RadarDetected       = "DFS-RADAR-DETECTED"
	terminating         = "CTRL-EVENT-TERMINATING"
)

// ParseEvent reads a datagram of an event, such as "<3>AP-STA-CONNECTED 02:00:00:00:01:00". It is
// false for what is none.
func ParseEvent(text string) (e Event, ok bool) {
	text = strings.TrimRight(text, "\r\n\x00")
	level, rest, ok := strings.Cut(text, ">")
	if !ok || len(level) < 2 || level[0] != '<' || strings.Trim(level[1:], "0123456789") != "" {
		return e, false
	}
	// With several networks each says its name first.
	if name, more, of := strings.Cut(rest, " "); of && strings.HasPrefix(name, "IFNAME=") {
		rest = more
	}
	e.Name, rest, _ = strings.Cut(rest, " ")
	if e.Name == "" {
		return e, false
	}
	first, more, _ := strings.Cut(rest, " ")
	if mac, err := net.ParseMAC(first); err == nil && len(mac) == 6 {
		e.MAC, rest = mac.String(), more
	}
	e.Detail = rest
	return e, true
}

const (
	// pingEvery is how often hostapd is asked whether it still knows the listener: a new process
	// does not, and nothing says so.
	pingEvery = 5 * time.Second
	// redialAfter is the wait before the next try.
	redialAfter = time.Second
)

// Listen calls yield with the events of an interface until ctx ends. Connected is called whenever
// it hears of all from now on, as after a restart of hostapd: events may have been missed before. Errors
// are those of a hostapd that is not there, and are waited out.
func Listen(ctx context.Context, dir, link, own string, connected func(), yield func(Event)) {
	for ctx.Err() == nil {
		_ = listen(ctx, dir, link, own, connected, yield)
		select {
		case <-ctx.Done():
		case <-time.After(redialAfter):
		}
	}
}

// listen listens to one process of hostapd.
func listen(ctx context.Context, dir, link, own string, connected func(), yield func(Event)) error {
	c := Dial(dir, link, own)
	defer func() { _ = c.Close() }()
	if err := c.do(ctx, "ATTACH"); err != nil {
		return err
	}
	// Else hostapd goes on to send, until it sees that nobody is there.
	defer func() { _, _ = c.conn.Write([]byte("DETACH")) }()
	connected()
	if err := c.conn.SetDeadline(time.Time{}); err != nil { // that of the command
		return err
	}
	conn := c.conn // stop waits for no call that has begun: Close may be before it
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	asked := false
	buf := make([]byte, maxReply)
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(pingEvery)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := c.conn.Read(buf)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !asked:
			if _, err := c.conn.Write([]byte("PING")); err != nil {
				return err
			}
			asked = true
			continue
		case err != nil:
			return err
		}
		e, ok := ParseEvent(string(buf[:n]))
		if asked = false; !ok {
			continue // an answer
		}
		e.Interface = link
		yield(e)
		if e.Name == terminating {
			return nil
		}
	}
}
