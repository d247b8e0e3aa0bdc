// SPDX-License-Identifier: GPL-2.0-only

// Package revision keeps the configurations that were applied, by number, with the
// time, a comment and what became of them.
package revision
