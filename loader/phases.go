// SPDX-License-Identifier: GPL-2.0-only

package loader

import "time"

// Phase is a part of a replacement.
type Phase struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took_ns"`
}

// phases measures the parts of a replacement, one after the other.
type phases struct {
	done  []Phase
	begun time.Time
}

// end ends the phase that goes on, by its name.
func (p *phases) end(name string) {
	now := time.Now()
	p.done = append(p.done, Phase{Name: name, Took: now.Sub(p.begun)})
	p.begun = now
}
