// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

// serveHTTP answers GET /stream?bytes=N with the first N bytes of the stream and
// POST /sink with the hash of what it was sent.
func serveHTTP(ctx context.Context, addrs []netip.AddrPort, ready func()) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.ParseInt(r.FormValue("bytes"), 10, 64)
		if err != nil || size < 0 {
			http.Error(w, "bytes: want a number", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		_ = writeStream(w, size) // the client sees a short body
	})
	mux.HandleFunc("POST /sink", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err == nil {
			fmt.Fprint(w, hex.EncodeToString(hash.Sum(nil)))
		}
	})
	server := &http.Server{Handler: mux}
	errc := make(chan error, len(addrs))
	for _, a := range addrs {
		listener, err := net.Listen("tcp", a.String())
		if err != nil {
			return err
		}
		go func() { errc <- server.Serve(listener) }()
	}
	ready()
	select {
	case err := <-errc:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
		return server.Close()
	}
}
