// SPDX-License-Identifier: GPL-2.0-only

package nft

import "fmt"

// Hook is an NF_INET_* hook number. Other families number theirs differently.
type Hook uint32

// The hooks of the families ip, ip6 and inet.
const (
	HookPrerouting Hook = iota
	HookInput
	HookForward
	HookOutput
	HookPostrouting
	HookIngress
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
	}
	return fmt.Sprintf("hook %d", uint32(h))
}
