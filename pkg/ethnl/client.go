// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"errors"
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/nlerr"
)

// Client talks to the kernel about the interfaces of the network namespace that it
// was made in. Its methods may be called concurrently.
type Client struct {
	conn   *genetlink.Conn
	family genetlink.Family
}

// Dial returns a client for the calling thread's network namespace.
func Dial() (*Client, error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("ethtool netlink: %w", err)
	}
	// The driver's own words; kernels without them still answer.
	_ = conn.SetOption(netlink.ExtendedAcknowledge, true)
	return New(conn)
}

// New returns a client that uses a connection, and closes it.
func New(conn *genetlink.Conn) (*Client, error) {
	family, err := conn.GetFamily(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ethtool netlink: %w", err), conn.Close())
	}
	return &Client{conn, family}, nil
}

// Close closes the client.
func (c *Client) Close() error { return c.conn.Close() }

// header is the attribute that names the interface in all requests.
const header = 1

// call sends a request about an interface. The attributes are added by add. Requests
// that have no answer are acknowledged.
func (c *Client) call(command uint8, link string, flags netlink.HeaderFlags, add func(*netlink.AttributeEncoder)) ([]genetlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(header, func(n *netlink.AttributeEncoder) error {
		n.String(unix.ETHTOOL_A_HEADER_DEV_NAME, link)
		return nil
	})
	if add != nil {
		add(ae)
	}
	data, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command, Version: unix.ETHTOOL_GENL_VERSION}, Data: data}
	answer, err := c.conn.Execute(m, c.family.ID, netlink.Request|flags)
	return answer, nlerr.Explain(err)
}

// one is the only answer.
func one(answer []genetlink.Message, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(answer) != 1 {
		return nil, fmt.Errorf("ethtool netlink: %d answers instead of one", len(answer))
	}
	return answer[0].Data, nil
}
