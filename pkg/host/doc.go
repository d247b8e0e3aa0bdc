// SPDX-License-Identifier: GPL-2.0-only

// Package host has the kinds of resources that a router's host has, for package
// reconcile. A file has one kind.
package host
