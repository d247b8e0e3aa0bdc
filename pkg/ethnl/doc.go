// SPDX-License-Identifier: GPL-2.0-only

// Package ethnl reads and changes settings of network interfaces over the
// kernel's ethtool netlink interface: what ethtool shows of rings, channels,
// coalescing, pause, EEE, FEC, WoL, private flags and features. See
// Documentation/networking/ethtool-netlink.rst of the kernel.
package ethnl
