// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Lease is an address, or a prefix, that a client has.
type Lease struct {
	// Prefix is a whole address, or what was delegated.
	Prefix netip.Prefix `json:"prefix"`
	// MAC is the client's hardware address in lower case; empty if it is not known.
	MAC string `json:"mac,omitempty"`
	// DUID identifies DHCPv6's clients, ClientID those of DHCPv4 that have one.
	DUID     string `json:"duid,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// Name is what the client calls itself, or is called, without the last dot.
	Name    string    `json:"name,omitempty"`
	Expires time.Time `json:"expires"`
	State   State     `json:"state"`
	// Subnet is the number of the subnet in Kea's configuration.
	Subnet uint32 `json:"subnet"`
}

// Address is that of the lease; of a prefix it is the first one.
func (l *Lease) Address() netip.Addr { return l.Prefix.Addr() }

// Active tells whether the client has it at a time.
func (l *Lease) Active(now time.Time) bool { return l.State == StateAssigned && now.Before(l.Expires) }

// State of a lease.
type State string

// States; the numbers are Kea's.
const (
	StateAssigned  State = "assigned"  // 0
	StateDeclined  State = "declined"  // 1: a client has found that somebody else uses it
	StateExpired   State = "expired"   // 2: and reclaimed
	StateReleased  State = "released"  // 3
	StateReserved  State = "reserved"  // 4: registered by the client itself
	StateNotKnown  State = "not known" // what later versions may have
	infiniteLength       = 1<<32 - 1   // seconds
)

func stateOf(n uint64) State {
	states := []State{StateAssigned, StateDeclined, StateExpired, StateReleased, StateReserved}
	if n < uint64(len(states)) {
		return states[n]
	}
	return StateNotKnown
}

// maxName is the longest name of RFC 1035 in characters.
const maxName = 253

// CleanName is a name as it may be shown: clients choose it, and a terminal
// or a file of another's may be what they aim at. What is not a name is empty.
func CleanName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > maxName {
		return ""
	}
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
		default:
			return ""
		}
	}
	return s
}

// hexBytes is a list of bytes as Kea writes it, 02:00:5e; anything else is empty.
func hexBytes(s string) string {
	if len(s) > 3*256 {
		return ""
	}
	for i, c := range []byte(s) {
		isHex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if i%3 == 2 && c != ':' || i%3 != 2 && !isHex {
			return ""
		}
	}
	if s != "" && len(s)%3 != 2 {
		return ""
	}
	return strings.ToLower(s)
}

// expiry is when a lease ends that was given for some seconds and ends then.
func expiry(seconds uint64, at int64) time.Time {
	if seconds >= infiniteLength {
		return forever
	}
	return time.Unix(at, 0).UTC()
}

// forever is the end of a lease that has none: the last second that RFC 3339 can write.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// maxTime is the Unix time of forever.
var maxTime = forever.Unix()

// wireLease is a lease as the hook library libdhcp_lease_cmds tells it.
type wireLease struct {
	Address  string  `json:"ip-address"`
	MAC      string  `json:"hw-address"`
	DUID     string  `json:"duid"`
	ClientID string  `json:"client-id"`
	Name     string  `json:"hostname"`
	Last     int64   `json:"cltt"` // of the client's last transaction
	Valid    uint64  `json:"valid-lft"`
	State    uint64  `json:"state"`
	Subnet   uint32  `json:"subnet-id"`
	Type     string  `json:"type"`
	Length   *uint64 `json:"prefix-len"`
}

func (w *wireLease) lease() (Lease, error) {
	a, err := netip.ParseAddr(w.Address)
	if err != nil || a.Zone() != "" {
		return Lease{}, fmt.Errorf("a lease of %q", w.Address)
	}
	if w.Last < 0 || w.Last > maxTime-infiniteLength || w.Valid > infiniteLength {
		return Lease{}, fmt.Errorf("the lease of %s is of no time", a)
	}
	bits := a.BitLen()
	if w.Type == "IA_PD" && w.Length != nil {
		if *w.Length > uint64(bits) {
			return Lease{}, fmt.Errorf("a lease of %s/%d", a, *w.Length)
		}
		bits = int(*w.Length)
	}
	return Lease{
		Prefix: netip.PrefixFrom(a, bits), MAC: hexBytes(w.MAC), DUID: hexBytes(w.DUID), ClientID: hexBytes(w.ClientID), Name: CleanName(w.Name),
		Expires: expiry(w.Valid, w.Last+int64(w.Valid)), State: stateOf(w.State), Subnet: w.Subnet,
	}, nil
}

// parseLeases reads the answer of lease4-get-all or lease6-get-all.
func parseLeases(b json.RawMessage) ([]Lease, error) {
	var answer struct {
		Leases []wireLease `json:"leases"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, err
	}
	out := make([]Lease, 0, len(answer.Leases))
	for i := range answer.Leases {
		l, err := answer.Leases[i].lease()
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return sorted(out), nil
}

// Leases asks the daemon for the leases of a family, 4 or 6; ErrUnsupported if its hook library for leases is not loaded.
func (c *Control) Leases(ctx context.Context, family int) ([]Lease, error) {
	var raw json.RawMessage
	if err := c.Command(ctx, fmt.Sprintf("lease%d-get-all", family), nil, &raw); err != nil || raw == nil {
		return nil, err
	}
	return parseLeases(raw)
}

func sorted(list []Lease) []Lease {
	slices.SortFunc(list, func(a, b Lease) int {
		return cmp.Or(a.Address().Compare(b.Address()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	return list
}

// Leases returns those of a daemon: it is asked, and if it does not tell, or does not run, they are
// those of its file.
func Leases(ctx context.Context, family int, socket, file string) ([]Lease, error) {
	list, err := (&Control{Path: socket}).Leases(ctx, family)
	if err == nil {
		return list, nil
	}
	fromFile, fileErr := ReadFile(file)
	if fileErr != nil {
		return nil, errors.Join(err, fileErr)
	}
	return fromFile, nil
}
