// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"errors"
	"fmt"
)

// cleanup undoes what was done, the latest first.
type cleanup struct {
	steps []step
}

type step struct {
	name string
	undo func() error
}

func (c *cleanup) add(name string, undo func() error) {
	c.steps = append(c.steps, step{name, undo})
}

// run undoes every step, whatever becomes of the others. A second call finds
// nothing left to do.
func (c *cleanup) run() error {
	var errs []error
	for len(c.steps) > 0 {
		last := c.steps[len(c.steps)-1]
		c.steps = c.steps[:len(c.steps)-1]
		if err := last.undo(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}
