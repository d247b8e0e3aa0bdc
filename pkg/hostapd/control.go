// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// commandTime bounds a command whose context has no deadline.
	commandTime = 5 * time.Second
	// maxReply is more than hostapd answers: its buffer has 4096 bytes.
	maxReply = 8192
)

// ErrRefused is in the error of a command that hostapd did not carry out.
var ErrRefused = errors.New("hostapd refused")

// Control is the control interface of a radio's interface: a datagram of text for each
// command and for each answer. Its methods may be called concurrently; commands wait for one another. It
// connects when it is used, and again after an error: to another process of hostapd, or to
// one whose late answer is not to be taken for that of the next command.
type Control struct {
	path, own string

	mu    sync.Mutex
	conn  *net.UnixConn // nil: not connected
	local string
}

// Dial returns the control interface of an interface, in hostapd's directory of them. The client's
// sockets are made in a directory of its own, which hostapd has to see too.
func Dial(dir, link, own string) *Control { return &Control{path: filepath.Join(dir, link), own: own} }

// clients numbers the sockets of this process.
var clients atomic.Uint64

// connect makes a socket. The caller holds mu, or has the Control for itself.
func (c *Control) connect() error {
	if c.conn != nil {
		return nil
	}
	// What it is in may have the files of others, too, who run as somebody else.
	if err := os.MkdirAll(filepath.Dir(c.own), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(c.own, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	local := filepath.Join(c.own, fmt.Sprintf("hostapd-%d-%d", os.Getpid(), clients.Add(1)))
	_ = os.Remove(local) // of an earlier process with this number
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: local, Net: "unixgram"}, &net.UnixAddr{Name: c.path, Net: "unixgram"})
	if err != nil {
		_ = os.Remove(local)
		return err
	}
	c.conn, c.local = conn, local
	return nil
}

// Close removes the socket, if there is one.
func (c *Control) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disconnect()
}

func (c *Control) disconnect() error {
	if c.conn == nil {
		return nil
	}
	err := errors.Join(c.conn.Close(), os.Remove(c.local))
	c.conn = nil
	return err
}

// Ask sends a command and returns the answer. What hostapd refuses is [ErrRefused]. The
// command is not in the error but for its first word: it may have a secret.
func (c *Control) Ask(ctx context.Context, command string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	word, _, _ := strings.Cut(command, " ")
	reply, err := c.ask(ctx, command)
	if err != nil {
		_ = c.disconnect()
		var op *net.OpError // has the paths of both ends
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("%s: no answer: %w", c.path, ctx.Err())
		case errors.As(err, &op):
			err = fmt.Errorf("%s: %w", c.path, op.Err)
		}
		return "", fmt.Errorf("hostapd: %s: %w", word, err)
	}
	switch text := strings.TrimSpace(reply); text {
	case "FAIL", "UNKNOWN COMMAND":
		return reply, fmt.Errorf("%w %s: %s", ErrRefused, word, text)
	}
	return reply, nil
}

func (c *Control) ask(ctx context.Context, command string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := c.connect(); err != nil {
		return "", err
	}
	deadline := time.Now().Add(commandTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte(command)); err != nil {
		return "", err
	}
	buf := make([]byte, maxReply)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// do is a command whose answer is OK.
func (c *Control) do(ctx context.Context, command string) error {
	reply, err := c.Ask(ctx, command)
	if err == nil && strings.TrimSpace(reply) != "OK" {
		word, _, _ := strings.Cut(command, " ")
		err = fmt.Errorf("%w %s: answers %.40q", ErrRefused, word, reply)
	}
	return err
}

// Ping asks for a sign of life.
func (c *Control) Ping(ctx context.Context) error {
	reply, err := c.Ask(ctx, "PING")
	if err == nil && strings.TrimSpace(reply) != "PONG" {
		err = fmt.Errorf("hostapd: PING: answers %.40q", reply)
	}
	return err
}

// Status is the state of the interface, its channel and the number of its stations.
func (c *Control) Status(ctx context.Context) (Status, error) {
	reply, err := c.Ask(ctx, "STATUS")
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(reply), nil
}

// maxStations is more than the protocol has: 2007 association identifiers.
const maxStations = 2007

// Stations are those that are associated, or about to be.
func (c *Control) Stations(ctx context.Context) (out []Station, err error) {
	for command := "STA-FIRST"; len(out) <= maxStations; {
		reply, err := c.Ask(ctx, command)
		if errors.Is(err, ErrRefused) {
			return out, nil // no more
		}
		if err != nil {
			return nil, err
		}
		s, ok := ParseStation(reply)
		if !ok {
			return out, nil
		}
		out = append(out, s)
		command = "STA-NEXT " + s.MAC
	}
	return nil, errors.New("hostapd: STA-NEXT goes on without an end")
}

// Set changes a parameter of the configuration in memory; hostapd's file stays as it is.
func (c *Control) Set(ctx context.Context, key, value string) error {
	return c.do(ctx, "SET "+key+" "+value)
}

// UpdateBeacon has beacons say what was set.
func (c *Control) UpdateBeacon(ctx context.Context) error { return c.do(ctx, "UPDATE_BEACON") }

// Disassociate has a station go; it may come back.
func (c *Control) Disassociate(ctx context.Context, mac net.HardwareAddr) error {
	return c.do(ctx, "DISASSOCIATE "+mac.String())
}

// beacons before a switch of the channel: stations that sleep hear one of them.
const switchBeacons = 5

// SwitchChannel has the radio and its stations move to another channel of the band, without
// one being dropped.
func (c *Control) SwitchChannel(ctx context.Context, to Channel, standards ...string) error {
	command := fmt.Sprintf("CHAN_SWITCH %d %d", switchBeacons, to.Frequency())
	if to.Width > 20 {
		command += fmt.Sprintf(" sec_channel_offset=%d", to.Secondary())
	}
	command += fmt.Sprintf(" center_freq1=%d bandwidth=%d", to.CenterFrequency(), to.Width)
	for _, s := range standards {
		command += " " + s
	}
	return c.do(ctx, command)
}
