// SPDX-License-Identifier: GPL-2.0-only

// Package nlerr says what the kernel says of a netlink request about an interface.
package nlerr

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Explain has the kernel's own words in front, and an interface that is not there as
// [fs.ErrNotExist].
func Explain(err error) error {
	var op *netlink.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("no such interface: %w", fs.ErrNotExist)
	case errors.As(err, &op) && op.Message != "":
		return fmt.Errorf("%s: %w", op.Message, op.Err)
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
