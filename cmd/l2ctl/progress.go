// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Progress is shown of what takes longer than progressAfter, and anew every progressEvery.
const (
	progressAfter = time.Second
	progressEvery = 500 * time.Millisecond
)

// onTerminal is where progress is shown: standard error, if somebody sees it; else nil.
func onTerminal(stderr io.Writer) io.Writer {
	if !isTerminal(stderr) {
		return nil
	}
	return stderr
}

// during shows what is being done, and for how long, until the function that it returns is
// called. That takes the line away again.
func (e *env) during(what func() string) (done func()) {
	if e.progress == nil {
		return func() {}
	}
	ended := make(chan struct{})
	var shown sync.WaitGroup
	begin := time.Now()
	const clear = "\r\x1b[K"
	shown.Go(func() {
		for next := progressAfter; ; next = progressEvery {
			select {
			case <-ended:
				if next == progressEvery {
					fmt.Fprint(e.progress, clear)
				}
				return
			case <-time.After(next):
				fmt.Fprintf(e.progress, clear+"%.78s", fmt.Sprintf("%ds %s", int(time.Since(begin).Seconds()), what()))
			}
		}
	})
	return func() {
		close(ended)
		shown.Wait()
	}
}

// doing is what is said of what has no steps.
func doing(text string) func() string { return func() string { return text } }

// applying asks the daemon how far it is.
func (e *env) applying() string {
	ctx, cancel := context.WithTimeout(e.ctx, progressEvery)
	defer cancel()
	s, err := e.client.Status(ctx)
	if err != nil || s.Host == nil || s.Host.Progress == nil {
		return "comparing and compiling"
	}
	return progressText(s.Host.Progress)
}

func progressText(p *reconcile.Progress) string {
	return fmt.Sprintf("%s %d of %d: %s", p.Doing, p.Number, p.Of, p.What)
}
