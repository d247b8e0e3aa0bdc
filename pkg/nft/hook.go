// SPDX-License-Identifier: GPL-2.0-only

package nft

import "fmt"

// Hook is an NF_INET_* hook number. ARP numbers its hooks differently.
type Hook uint32

// The hooks of the families ip, ip6, inet and netdev, whose numbers are other ones
// in the kernel.
const (
	HookPrerouting Hook = iota
	HookInput
	HookForward
	HookOutput
	HookPostrouting
	HookIngress
	HookEgress // netdev only, no NF_INET_* number
)

// String returns the hook as nft writes it for the families ip, ip6, inet and
// bridge.
func (h Hook) String() string {
	switch h {
	case HookPrerouting:
		return "prerouting"
	case HookInput:
		return "input"
	case HookForward:
		return "forward"
	case HookOutput:
		return "output"
	case HookPostrouting:
		return "postrouting"
	case HookIngress:
		return "ingress"
	case HookEgress:
		return "egress"
	}
	return fmt.Sprintf("hook %d", uint32(h))
}
