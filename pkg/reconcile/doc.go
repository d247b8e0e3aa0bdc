// SPDX-License-Identifier: GPL-2.0-only

// Package reconcile brings a host into a declared state, and back.
//
// A [Resource] is something on the host, named by a [Kind] and a name of that
// kind, and the values that some of its attributes shall have. [Engine.Plan]
// observes all of them and says what differs; nothing is touched while anything
// is wrong with what is wanted. [Engine.Apply] makes the changes one by one,
// reads back each of them, asks the health gates, and undoes everything in
// reverse order if any of that fails.
//
// A change can wait for a confirmation. What it takes to undo it is on disk
// before the first write: an engine that is killed at any moment leaves a file
// behind, from which [Engine.Recover] of the next one goes on. A change that was
// being made is undone at once, one that waits is undone when its time is up. After a
// reboot there is nothing to undo: these states live in the kernel.
package reconcile
