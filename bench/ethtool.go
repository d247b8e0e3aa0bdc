// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// ETHTOOL_SGRO and ETHTOOL_STXCSUM of include/uapi/linux/ethtool.h.
const (
	ethtoolSetGRO    = 0x2c
	ethtoolSetTxCsum = 0x17
)

// setGRO turns generic receive offload on for an interface of the calling
// thread's network namespace.
func setGRO(name string) error { return setOffload(name, ethtoolSetGRO, 1) }

// setOffload turns an offload on or off.
func setOffload(name string, cmd, on uint32) error {
	if err := ethioctl.SetValue(ethioctl.Kernel{}, name, cmd, on); err != nil {
		return fmt.Errorf("%s: ethtool command %#x, value %d: %w", name, cmd, on, err)
	}
	return nil
}
