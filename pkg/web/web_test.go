// SPDX-License-Identifier: GPL-2.0-only

package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

// router is a source without a dataplane.
type router struct{ asked flow.Filter }

func (*router) Sample(context.Context) (*observe.Sample, error) {
	return &observe.Sample{Host: "l2"}, nil
}
func (*router) Quick(context.Context) (*observe.Sample, error) { return &observe.Sample{}, nil }
func (*router) RuleCounts(context.Context) ([]api.Rule, error) {
	return nil, &api.Error{Status: http.StatusConflict, Message: "detached"}
}
func (r *router) Flows(_ context.Context, f flow.Filter) ([]flow.Flow, error) {
	r.asked = f
	return make([]flow.Flow, 700), nil
}

const token = "a token of the tests"

func serve(t *testing.T) (*httptest.Server, *router) {
	t.Helper()
	r := &router{}
	w := &server{source: r, log: slog.New(slog.DiscardHandler), busy: make(chan struct{}, 1)}
	srv := httptest.NewServer(w.handler(newGuard(token)))
	t.Cleanup(srv.Close)
	return srv, r
}

// TestGuard: what a router has is for those who know the token, and nobody else.
func TestGuard(t *testing.T) {
	srv, _ := serve(t)
	ask := func(c *http.Client, method, path, bearer string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	stranger := srv.Client()
	for _, path := range []string{"/data/sample", "/data/history", "/data/rules", "/data/flows?q=1", "/data/", "/data/../data/sample"} {
		if code, body := ask(stranger, "GET", path, ""); code != http.StatusUnauthorized && code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _ := ask(stranger, "GET", "/data/sample", token+"x"); code != http.StatusForbidden {
		t.Errorf("wrong token: %d", code)
	}
	if code, body := ask(stranger, "GET", "/data/sample", token); code != http.StatusOK || !strings.Contains(body, `"host":"l2"`) {
		t.Errorf("token: %d %s", code, body)
	}
	if code, body := ask(stranger, "GET", "/data/rules", token); code != http.StatusConflict || !strings.Contains(body, "detached") {
		t.Errorf("rules: %d %s", code, body)
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if code, _ := ask(stranger, method, "/data/flows", token); code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, code)
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	for _, c := range []struct {
		token string
		code  int
	}{{"", 403}, {"wrong", 403}, {token, 204}} {
		resp, err := browser.PostForm(srv.URL+"/login", url.Values{"token": {c.token}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("login with %q: %d", c.token, resp.StatusCode)
		}
		if c.code == 204 {
			cookie := resp.Cookies()[0]
			if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(cookie.Value, token) {
				t.Errorf("cookie %v", cookie)
			}
		}
	}
	if code, _ := ask(browser, "GET", "/data/sample", ""); code != http.StatusOK {
		t.Errorf("logged in: %d", code)
	}
	if code, body := ask(stranger, "GET", "/", ""); code != http.StatusOK || !strings.Contains(body, "app.js") {
		t.Errorf("page: %d %s", code, body)
	}
}

// TestSessions: as many as there may be, and not for ever.
func TestSessions(t *testing.T) {
	g := newGuard(token)
	var first string
	for i := range mostSessions + 10 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/login", strings.NewReader("token="+url.QueryEscape(token)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		g.login(w, r)
		if i == 0 {
			first = w.Result().Cookies()[0].Value
		}
	}
	if len(g.sessions) != mostSessions || g.session(first) {
		t.Errorf("%d sessions, the oldest goes on: %v", len(g.sessions), g.session(first))
	}
	for id := range g.sessions {
		g.sessions[id] = time.Now().Add(-time.Second)
	}
	if g.session(first) {
		t.Error("a session that has ended goes on")
	}
}

func TestSearch(t *testing.T) {
	srv, r := serve(t)
	for q, want := range map[string]flow.Filter{
		"192.168.1.50": {Prefix: netip.MustParsePrefix("192.168.1.50/32")}, "fd00::/64": {Prefix: netip.MustParsePrefix("fd00::/64")},
		"443": {Port: 443}, "udp": {Protocol: "udp"}, "": {},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/data/flows?q="+url.QueryEscape(q), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var f found
		if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Total != 700 || len(f.Flows) != mostFlows {
			t.Errorf("%q: %v, %d of %d", q, err, len(f.Flows), f.Total)
		}
		resp.Body.Close()
		if fmt.Sprint(r.asked) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", q, r.asked, want)
		}
	}
}

// TestHistory: the oldest makes room, and nothing grows for ever.
func TestHistory(t *testing.T) {
	h := &history{}
	at := time.Unix(1000, 0)
	for i := range points + 11 {
		s := &observe.Sample{Time: at.Add(time.Duration(i) * every), Drops: map[string]uint64{"policy": uint64(20 * i)}, Flows: observe.Flows{Confirmed: uint64(i)}}
		for n := range mostLinks + 5 {
			s.Interfaces = append(s.Interfaces, observe.Interface{Name: fmt.Sprint("eth", n), RxBytes: uint64(1000 * n * i)})
		}
		h.add(s)
	}
	s := h.series()
	if len(s.Time) != points || len(s.In) != mostLinks || len(s.In["eth3"]) != points {
		t.Fatalf("%d points, %d interfaces", len(s.Time), len(s.In))
	}
	if s.Time[0] != 1000+11*10 || s.Time[points-1] != 1000+(points+10)*10 || s.Flows[0] != 11 || s.Drops[5] != 2 || s.In["eth3"][7] != 8*1000*3/10 {
		t.Errorf("from %d to %d, flows %v, drops %v, in %v", s.Time[0], s.Time[points-1], s.Flows[0], s.Drops[5], s.In["eth3"][7])
	}
}

func TestShortToken(t *testing.T) {
	if err := Serve(t.Context(), "127.0.0.1:0", "short", &router{}, slog.Default()); err == nil {
		t.Error("a token that can be guessed is taken")
	}
}
