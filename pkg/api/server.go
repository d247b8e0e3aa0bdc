// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Server answers requests with a Service. Its ReadHeaderTimeout is set; the
// caller serves and shuts down.
func Server(s Service, log *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           handler(s, log),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	closeSilent(srv)
	return srv
}

// closeSilent has a shutdown close connections that have asked for nothing yet, which clients
// keep in reserve: by itself it would wait for these, as for requests, until they are some
// seconds old.
func closeSilent(srv *http.Server) {
	var mu sync.Mutex
	silent, ending := map[net.Conn]bool{}, false
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		delete(silent, c)
		if s != http.StateNew {
			return
		}
		if silent[c] = true; ending {
			c.Close()
		}
	}
	srv.RegisterOnShutdown(func() {
		mu.Lock()
		defer mu.Unlock()
		ending = true
		for c := range silent {
			c.Close()
		}
	})
}

// action answers a request with a value, or an error.
type action func(r *http.Request) (any, error)

func handler(s Service, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do action) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := do(r)
			if err != nil {
				writeError(w, r, log, err)
				return
			}
			writeJSON(w, http.StatusOK, v)
		})
	}
	handle("GET /v1/status", func(r *http.Request) (any, error) { return s.Status(r.Context()) })
	handle("GET /v1/sample", func(r *http.Request) (any, error) { return s.Sample(r.Context()) })
	handle("GET /v1/rules", func(r *http.Request) (any, error) { return s.Rules(r.Context()) })
	handle("POST /v1/explain", func(r *http.Request) (any, error) { return explainPacket(s, r) })
	handle("GET /v1/ntuple", func(r *http.Request) (any, error) { return s.NTuples(r.Context()) })
	handle("GET /v1/flows/count", func(r *http.Request) (any, error) { return countFlows(s, r) })
	handle("DELETE /v1/flows", func(r *http.Request) (any, error) { return deleteFlows(s, r) })
	mux.HandleFunc("GET /v1/flows", func(w http.ResponseWriter, r *http.Request) { listFlows(s, log, w, r) })

	mux.HandleFunc("GET /v1/monitor", func(w http.ResponseWriter, r *http.Request) { watch(s, log, w, r) })
	mux.HandleFunc("GET /v1/flows/events", func(w http.ResponseWriter, r *http.Request) { flowEvents(s, log, w, r) })

	const set = "/v1/sets/{family}/{table}/{set}"
	handle("GET "+set, func(r *http.Request) (any, error) {
		list, err := s.SetList(r.Context(), setName(r))
		if list == nil {
			list = []Element{} // [] and not null
		}
		return list, err
	})
	handle("PUT "+set+"/{element}", func(r *http.Request) (any, error) {
		timeout, err := durationOf(r, "timeout")
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.SetAdd(r.Context(), setName(r), r.PathValue("element"), timeout)
	})
	handle("DELETE "+set+"/{element}", func(r *http.Request) (any, error) {
		return struct{}{}, s.SetDelete(r.Context(), setName(r), r.PathValue("element"))
	})

	handle("GET /v1/host/plan", func(r *http.Request) (any, error) { return s.HostPlan(r.Context()) })
	handle("POST /v1/host/apply", func(r *http.Request) (any, error) {
		o, err := hostOptions(r)
		if err != nil {
			return nil, err
		}
		return s.HostApply(r.Context(), o)
	})
	handle("GET /v1/host/revisions", func(r *http.Request) (any, error) { return s.HostRevisions(r.Context()) })
	handle("GET /v1/host/revisions/{n}", func(r *http.Request) (any, error) {
		n, err := revisionNumber(r.PathValue("n"))
		if err != nil {
			return nil, err
		}
		return s.HostRevision(r.Context(), n)
	})
	handle("POST /v1/host/confirm/{id}", func(r *http.Request) (any, error) {
		return struct{}{}, s.HostConfirm(r.Context(), r.PathValue("id"))
	})
	handle("POST /v1/host/rollback/{id}", func(r *http.Request) (any, error) {
		return struct{}{}, s.HostRollback(r.Context(), r.PathValue("id"))
	})

	serviceActions(s, handle)
	stationActions(s, log, mux, handle)
	clientActions(s, handle)

	handle("POST /v1/reload", func(r *http.Request) (any, error) { return s.Reload(r.Context()) })
	handle("POST /v1/detach", func(r *http.Request) (any, error) {
		fallback, err := boolOf(r, "fallback", true)
		if err != nil {
			return nil, err
		}
		return s.Detach(r.Context(), fallback)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, log, &Error{http.StatusNotFound, fmt.Sprintf("%s %s is not known to this daemon", r.Method, r.URL.Path)})
	})
	return mux
}

func setName(r *http.Request) SetName {
	return SetName{r.PathValue("family"), r.PathValue("table"), r.PathValue("set")}
}

func countFlows(s Service, r *http.Request) (any, error) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list, err := s.Flows(r.Context(), f)
	return Count{len(list)}, err
}

// deleteFlows wants either a filter or all=true: a filter that got lost on the
// way here must not end every connection.
func deleteFlows(s Service, r *http.Request) (any, error) {
	all, err := boolOf(r, "all", false)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	q.Del("all")
	f, err := parseFilter(q)
	if err != nil {
		return nil, err
	}
	if f.IsZero() != all {
		return nil, BadInput(errors.New("delete flows: want a filter, or all=true without one"))
	}
	n, err := s.DeleteFlows(r.Context(), f)
	return DeletedFlows{n}, err
}

// listFlows writes one JSON object a line: neither side needs the text of a full
// table in memory.
func listFlows(s Service, log *slog.Logger, w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		writeError(w, r, log, err)
		return
	}
	list, err := s.Flows(r.Context(), f)
	if err != nil {
		writeError(w, r, log, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			return // the caller is gone
		}
	}
	_ = out.Flush()
}

// flowEvents writes one JSON object a line, until the caller goes away or the
// daemon ends. The caller may be slow: it loses events then, and nobody waits.
func flowEvents(s Service, log *slog.Logger, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	kinds := flow.KindAll
	var err error
	if q.Has("event") {
		kinds, err = flow.ParseKinds(q.Get("event"))
		q.Del("event")
	}
	if err != nil {
		writeError(w, r, log, BadInput(err))
		return
	}
	f, err := parseFilter(q)
	if err != nil {
		writeError(w, r, log, err)
		return
	}
	l, err := s.FlowEvents(r.Context(), f, kinds)
	if errors.Is(err, flow.ErrTooManyListeners) {
		err = &Error{http.StatusServiceUnavailable, err.Error()}
	}
	if err != nil {
		writeError(w, r, log, err)
		return
	}
	defer l.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	flusher := http.NewResponseController(w)
	// The caller knows by the header that it hears of all from now on.
	err = flusher.Flush()
	enc := json.NewEncoder(w)
	for err == nil {
		var e flow.Event
		if e, err = l.Next(r.Context()); err != nil {
			return
		}
		if err = enc.Encode(&e); err == nil && !l.Waiting() {
			err = flusher.Flush()
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer is not JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	// The caller is gone when this fails.
	_, _ = w.Write(append(body, '\n'))
}

func writeError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	status := statusOf(err)
	if status >= 500 && !errors.Is(err, context.Canceled) { // which the caller has, or the daemon ends
		log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{status, messageOf(err)}
	}
	writeJSON(w, status, e)
}

// maxComment is the longest comment of a revision, in bytes.
const maxComment = 1000

func hostOptions(r *http.Request) (o HostOptions, err error) {
	if o.Confirm, err = durationOf(r, "confirm"); err != nil {
		return o, err
	}
	if o.Runtime, err = boolOf(r, "runtime", false); err != nil {
		return o, err
	}
	q := r.URL.Query()
	if n := q.Get("revision"); n != "" {
		if o.Revision, err = revisionNumber(n); err != nil {
			return o, err
		}
	}
	if o.Comment = q.Get("comment"); len(o.Comment) > maxComment {
		return o, BadInput(fmt.Errorf("comment of %d bytes: want at most %d", len(o.Comment), maxComment))
	}
	return o, nil
}

func revisionNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, BadInput(fmt.Errorf("revision %q: want the number of one", s))
	}
	return n, nil
}

func durationOf(r *http.Request, key string) (time.Duration, error) {
	s := r.URL.Query().Get(key)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, BadInput(fmt.Errorf("%s %q: want a duration such as 30s or 4h", key, s))
	}
	return d, nil
}

func boolOf(r *http.Request, key string, absent bool) (bool, error) {
	s := r.URL.Query().Get(key)
	if s == "" {
		return absent, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, BadInput(fmt.Errorf("%s %q: want true or false", key, s))
	}
	return b, nil
}
