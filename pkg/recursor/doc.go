// SPDX-License-Identifier: GPL-2.0-only

// Package recursor has the PowerDNS Recursor as a service, and asks it what it does.
//
// Version 4 knows settings as key=value alone and 5.2 YAML alone. Both files are written, with the same
// content: each version reads the one that it knows, 5.0 and 5.1 the YAML, and an upgrade of its package needs
// nothing of l2d. Trust anchors are settings of YAML from 5.1 on.
package recursor
