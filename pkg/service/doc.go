// SPDX-License-Identifier: GPL-2.0-only

// Package service runs the daemons around the dataplane.
//
// A package per daemon implements [Daemon]: it renders a [Unit], which is all that is
// there of a service, from the configuration, and knows how the daemon checks its files, what a change does to it, how
// it is told to read them again, and whether it is well. [Manager] is the kind of resource
// that the engine of package reconcile plans, applies and undoes: it stages files for
// the daemon's own check, installs them, starts or reloads the process with the least
// disruption, and waits until it is well.
//
// What is known of a service as text, for plans, the log and the file of a pending change, is
// without its secrets: in their place is a keyed digest. The units themselves are kept below the
// state directory, for root alone, by the digest of that text. So undoing a change
// finds what was before it, also in the next daemon.
package service
