// SPDX-License-Identifier: GPL-2.0-only

package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	cookieName  = "l2d"
	sessionLife = 12 * time.Hour
	// mostSessions is how many browsers are logged in at most: the oldest makes room.
	mostSessions = 64
	// MinToken is the least length of a token that can be had by guessing in no
	// useful time.
	MinToken = 16
	// wrongDelay is how long a wrong token is thought about, one at a time.
	wrongDelay = time.Second
)

// guard lets in who knows the token.
type guard struct {
	token [sha256.Size]byte

	wrong sync.Mutex // held while a wrong token is answered

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]time.Time // when they end, by the hash of the cookie
}

func newGuard(token string) *guard {
	return &guard{token: sha256.Sum256([]byte(token)), sessions: map[[sha256.Size]byte]time.Time{}}
}

// knows tells whether a token is the right one, in the same time for all wrong ones.
func (g *guard) knows(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// refuse answers a wrong token, slowly: all of those who guess wait for each other.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request) {
	if !g.wrong.TryLock() {
		http.Error(w, "wait: another wrong token is being answered", http.StatusTooManyRequests)
		return
	}
	defer g.wrong.Unlock()
	select {
	case <-time.After(wrongDelay):
	case <-r.Context().Done():
	}
	http.Error(w, "not the token", http.StatusForbidden)
}

// login gives a browser that knows the token a cookie.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	if !g.knows(r.PostFormValue("token")) {
		g.refuse(w, r)
		return
	}
	id := rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var oldest [sha256.Size]byte
	for s, end := range g.sessions {
		if end.Before(now) {
			delete(g.sessions, s)
		} else if first, ok := g.sessions[oldest]; !ok || end.Before(first) {
			oldest = s
		}
	}
	if len(g.sessions) >= mostSessions {
		delete(g.sessions, oldest)
	}
	g.sessions[sha256.Sum256([]byte(id))] = now.Add(sessionLife)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds()), Secure: r.TLS != nil,
	})
	w.WriteHeader(http.StatusNoContent)
}

// only has a handler answer those who are logged in, or name the token.
func (g *guard) only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			if !g.knows(token) {
				g.refuse(w, r)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		c, err := r.Cookie(cookieName)
		if err != nil || !g.session(c.Value) {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) session(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	end, ok := g.sessions[sha256.Sum256([]byte(id))]
	return ok && time.Now().Before(end)
}
