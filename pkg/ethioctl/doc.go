// SPDX-License-Identifier: GPL-2.0-only

// Package ethioctl reads and changes what the kernel's ethtool has no netlink
// messages for, or not in all versions: the receive side's hash (RSS), and the
// rules by which a network interface sorts packets into its queues (rxnfc,
// "n-tuple"). See include/uapi/linux/ethtool.h of the kernel.
package ethioctl
