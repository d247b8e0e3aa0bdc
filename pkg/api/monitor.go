// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Watched is a packet that the dataplane has dropped.
type Watched struct {
	Time time.Time `json:"time"`
	// Reason by the name that l2ctl status counts it by; empty if it is one of several.
	Reason string `json:"reason,omitempty"`
	// Rejected tells that the sender is told.
	Rejected bool `json:"rejected,omitempty"`
	// Rule that has decided; nil if none has.
	Rule      *Rule  `json:"rule,omitempty"`
	Interface string `json:"interface"`
	// Egress: it is on its way out by the interface; else in.
	Egress bool `json:"egress,omitempty"`
	// Ethernet: Data begins with such a header; else with IP's.
	Ethernet bool `json:"ethernet"`
	// Length of the frame in bytes; Data may be less.
	Length int    `json:"length"`
	Data   []byte `json:"data"`
	// Lost is how many at least were not told since the one before.
	Lost uint64 `json:"lost,omitempty"`
}

// Watch calls yield with packets that are dropped, of each CPU so many a second at
// most, until yield returns an error, ctx ends or the daemon
// does. Ready is called when the dataplane is watched; it may be nil.
func (c *Client) Watch(ctx context.Context, rate uint32, ready func(), yield func(Watched) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/monitor", url.Values{"rate": {fmt.Sprint(rate)}})
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	return eachOf(body, "watched packets", yield)
}

// maxRate bounds what a CPU tells in a second.
const maxRate = 100000

// watch writes one JSON object a line, until the caller goes away or the daemon ends.
func watch(s Service, log *slog.Logger, w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.ParseUint(r.URL.Query().Get("rate"), 10, 32)
	if err != nil || rate == 0 || rate > maxRate {
		writeError(w, r, log, BadInput(fmt.Errorf("rate %q: want 1 to %d", r.URL.Query().Get("rate"), maxRate)))
		return
	}
	flusher := http.NewResponseController(w)
	begun := false
	begin := func() {
		w.Header().Set("Content-Type", "application/x-ndjson")
		begun = flusher.Flush() == nil
	}
	enc := json.NewEncoder(w)
	err = s.Watch(r.Context(), uint32(rate), begin, func(p Watched) error {
		if err := enc.Encode(&p); err != nil {
			return err
		}
		return flusher.Flush()
	})
	if err != nil && !begun {
		writeError(w, r, log, err)
	}
}
