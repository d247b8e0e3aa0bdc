// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/nlerr"
)

// Client talks to the kernel about the interfaces of the network namespace that it
// was made in. Its methods may be called concurrently.
type Client struct{ conn Conn }

// Conn is a connection with the kernel: a [netlink.Conn], but in tests.
type Conn interface {
	Execute(netlink.Message) ([]netlink.Message, error)
	Close() error
}

// New returns a client for a connection of the family NETLINK_ROUTE.
func New(conn Conn) *Client { return &Client{conn} }

// Dial returns a client for the calling thread's network namespace.
func Dial() (*Client, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	// The kernel's own words; kernels without them still answer.
	_ = conn.SetOption(netlink.ExtendedAcknowledge, true)
	return New(conn), nil
}

// Close closes the client.
func (c *Client) Close() error { return c.conn.Close() }

// Handles of parents: TC_H_ROOT, TC_H_INGRESS.
const (
	rootParent    = 0xffffffff
	ingressParent = 0xfffffff1
)

// Attributes of struct tcmsg.
const (
	attrKind    = unix.TCA_KIND
	attrOptions = unix.TCA_OPTIONS
)

// message is a struct tcmsg and its attributes.
type message struct {
	index                int
	handle, parent, info uint32
	kind                 string
	options              []byte
	// nested has the flag on the options that says so: some kinds insist on it.
	nested bool
	// other attributes of a message that was read, by type.
	attributes map[uint16][]byte
}

// tcmsgLen is the size of a struct tcmsg.
const tcmsgLen = 20

func (m *message) encode() ([]byte, error) {
	b := make([]byte, tcmsgLen)
	binary.NativeEndian.PutUint32(b[4:], uint32(m.index))
	binary.NativeEndian.PutUint32(b[8:], m.handle)
	binary.NativeEndian.PutUint32(b[12:], m.parent)
	binary.NativeEndian.PutUint32(b[16:], m.info)
	ae := netlink.NewAttributeEncoder()
	if m.kind != "" {
		ae.String(attrKind, m.kind)
	}
	if m.options != nil {
		t := uint16(attrOptions)
		if m.nested {
			t |= unix.NLA_F_NESTED
		}
		ae.Bytes(t, m.options)
	}
	attributes, err := ae.Encode()
	return append(b, attributes...), err
}

func decodeMessage(b []byte) (message, error) {
	if len(b) < tcmsgLen {
		return message{}, errors.New("rtnetlink: a message is too short")
	}
	m := message{
		index:  int(int32(binary.NativeEndian.Uint32(b[4:]))),
		handle: binary.NativeEndian.Uint32(b[8:]), parent: binary.NativeEndian.Uint32(b[12:]), info: binary.NativeEndian.Uint32(b[16:]),
		attributes: map[uint16][]byte{},
	}
	ad, err := netlink.NewAttributeDecoder(b[tcmsgLen:])
	if err != nil {
		return message{}, err
	}
	for ad.Next() {
		switch ad.Type() {
		case attrKind:
			m.kind = ad.String()
		case attrOptions:
			m.options = ad.Bytes()
		default:
			m.attributes[ad.Type()] = ad.Bytes()
		}
	}
	return m, ad.Err()
}

// do sends a request that has no answer.
func (c *Client) do(command uint16, flags netlink.HeaderFlags, m *message) error {
	_, err := c.execute(command, flags|netlink.Acknowledge, m)
	return err
}

// dump asks for all that there is of an interface, or of all with the index 0.
func (c *Client) dump(command uint16, m *message) ([]message, error) {
	answer, err := c.execute(command, netlink.Dump, m)
	if err != nil {
		return nil, err
	}
	var out []message
	for _, a := range answer {
		r, err := decodeMessage(a.Data)
		if err != nil {
			return nil, err
		}
		// Kernels before 7 dump those of all interfaces.
		if m.index == 0 || r.index == m.index {
			out = append(out, r)
		}
	}
	return out, nil
}

func (c *Client) execute(command uint16, flags netlink.HeaderFlags, m *message) ([]netlink.Message, error) {
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	answer, err := c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(command), Flags: netlink.Request | flags}, Data: data,
	})
	return answer, explain(err)
}

// explain is [nlerr.Explain]. A qdisc or a class that is missing is not
// [fs.ErrNotExist]: the interface is there.
func explain(err error) error {
	var op *netlink.OpError
	if errors.As(err, &op) && errors.Is(op.Err, unix.ENOENT) {
		missing := *op
		missing.Err = errMissing
		err = &missing
	}
	return nlerr.Explain(err)
}

var errMissing = errors.New("no such kind, qdisc or class")
