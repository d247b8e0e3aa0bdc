// SPDX-License-Identifier: GPL-2.0-only

package lab

import "slices"

// L2Checks returns what must hold with the ruleset file of examples/l2.
func L2Checks(ruleset string) []Check {
	return slices.Concat(lanChecks(), wanChecks(), edgeChecks(), highSpeedChecks(), dhcpChecks(),
		daemonChecks(ruleset), reloadChecks(ruleset))
}
