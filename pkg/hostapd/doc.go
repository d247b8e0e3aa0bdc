// SPDX-License-Identifier: GPL-2.0-only

// Package hostapd writes the configuration of the access point daemon hostapd, and talks to it.
package hostapd
