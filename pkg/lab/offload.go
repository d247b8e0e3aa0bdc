// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// Commands of SIOCETHTOOL, include/uapi/linux/ethtool.h.
const (
	ethtoolSetTxCsum = 0x17
	ethtoolSetTSO    = 0x1f
	ethtoolSetGSO    = 0x24
	ethtoolSetGRO    = 0x2c
)

// offload is one on/off setting of a network interface.
type offload struct {
	what  string
	cmd   uint32
	value uint32
}

// realWire makes an interface send what a wire carries: single segments with
// complete checksums. An XDP program at the other end of a veth sees the packet
// before the kernel would fill these in.
var realWire = []offload{
	{"tso off", ethtoolSetTSO, 0},
	{"gso off", ethtoolSetGSO, 0},
	{"tx checksum off", ethtoolSetTxCsum, 0},
}

// xdpReceiver makes a veth accept frames that XDP redirects into it: only an
// interface with NAPI has the ring for them, and GRO turns NAPI on.
var xdpReceiver = []offload{
	{"gro on", ethtoolSetGRO, 1},
}

func (n *Namespace) setOffloads(link string, lists ...[]offload) error {
	return n.Do(func() error {
		for _, list := range lists {
			if err := setOffloads(link, list); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
		}
		return nil
	})
}

// PlainWire makes an interface of the calling thread's network namespace send
// what a wire carries: single segments with complete checksums.
func PlainWire(link string) error { return setOffloads(link, realWire) }

// setOffloads are of the calling thread's network namespace.
func setOffloads(link string, list []offload) error {
	for _, o := range list {
		if err := ethioctl.SetValue(ethioctl.Kernel{}, link, o.cmd, o.value); err != nil {
			return fmt.Errorf("%s: %s: %w", link, o.what, err)
		}
	}
	return nil
}
