// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"strconv"
)

// number is the first number of a text; 0 if it has none.
func number(s string) uint64 {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := strconv.ParseUint(s[:end], 10, 64)
	return n
}

// plural is a number of things.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
