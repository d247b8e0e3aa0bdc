// SPDX-License-Identifier: GPL-2.0-only

package host

// LacksQdiscs are those of some kinds of qdiscs that the running kernel does not have.
func LacksQdiscs(kinds ...string) []string {
	return (&kernelQdiscs{has: map[string]bool{}}).lacks(kinds...)
}
