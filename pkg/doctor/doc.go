// SPDX-License-Identifier: GPL-2.0-only

// Package doctor looks at a router's host and says what is not as it should be, what that is
// seen by, and what to do about it. An area has one file. Checks only read: files
// below a root directory, and what [Gather] has asked the kernel and the daemon for.
package doctor
