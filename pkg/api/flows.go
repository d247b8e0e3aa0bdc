// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"fmt"
	"net/url"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// parseFilter reads a filter from a query. A key that is not known would select
// too much, and is refused; so is one that is given twice.
func parseFilter(q url.Values) (flow.Filter, error) {
	var f flow.Filter
	for key, values := range q {
		if len(values) != 1 {
			return flow.Filter{}, BadInput(fmt.Errorf("%s: given %d times, want it once", key, len(values)))
		}
		if err := f.Set(key, values[0]); err != nil {
			return flow.Filter{}, BadInput(err)
		}
	}
	return f, nil
}

// query is the reverse of parseFilter.
func query(f flow.Filter) url.Values {
	q := url.Values{}
	f.Values(q.Set)
	return q
}
