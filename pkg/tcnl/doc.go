// SPDX-License-Identifier: GPL-2.0-only

// Package tcnl reads and changes the queueing disciplines of network interfaces
// over rtnetlink: what "tc qdisc" and "tc class" show. Parameters are text, with
// the names and units that [Kinds] has for them; what the kernel rounds is given
// as the value that it was rounded from, so that what was read can be set again.
package tcnl
