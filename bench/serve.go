// SPDX-License-Identifier: GPL-2.0-only

package bench

import "net/http"

// serveCommand are the words of the command that wrk talks to: [Commands] in l2ctl.
var serveCommand = []string{"bench", "serve"}

// ServeCmd answers every request with a short page.
type ServeCmd struct {
	Address string `arg:"" help:"Address and port to listen at."`
}

// Run serves until it is killed.
func (c *ServeCmd) Run() error {
	page := make([]byte, 1024)
	for i := range page {
		page[i] = '.'
	}
	return http.ListenAndServe(c.Address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(page) // the client has gone
	}))
}
