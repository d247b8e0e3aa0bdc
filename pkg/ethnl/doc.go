// SPDX-License-Identifier: GPL-2.0-only

// Package ethnl reads and changes settings of network interfaces over the
// kernel's ethtool netlink interface: what ethtool's options -g, -l, -c, -a and
// -k show. See Documentation/networking/ethtool-netlink.rst of the kernel.
package ethnl
