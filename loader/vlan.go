// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/vishvananda/netlink"
)

// tagFeatures are the features by which a NIC takes tags out of frames, before XDP
// sees them, by the protocol of the tag.
var tagFeatures = map[netlink.VlanProtocol]string{
	netlink.VLAN_PROTOCOL_8021Q:  "rx-vlan-hw-parse",
	netlink.VLAN_PROTOCOL_8021AD: "rx-vlan-stag-hw-parse",
}

// vlanOf returns an interface's VLAN, nil if it is not the device of one, or its
// NIC is in another namespace: the index is not one of here then.
func vlanOf(ifindex int) (*netlink.Vlan, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("interface %d: %w", ifindex, err)
	}
	v, ok := l.(*netlink.Vlan)
	if !ok || v.NetNsID >= 0 {
		return nil, nil
	}
	return v, nil
}

// wantsVLANs tells whether XDP may have to do with VLANs: it is not off for a
// VLAN's device.
func wantsVLANs(interfaces []Interface) (bool, error) {
	for _, i := range interfaces {
		if i.XDP == XDPOff {
			continue
		}
		if v, err := vlanOf(i.Index); v != nil || err != nil {
			return v != nil, err
		}
	}
	return false, nil
}

// behindNICs has the devices of VLANs behind all other interfaces.
func behindNICs(interfaces []Interface) ([]Interface, error) {
	var nics, vlans []Interface
	for _, i := range interfaces {
		v, err := vlanOf(i.Index)
		switch {
		case err != nil:
			return nil, err
		case v != nil:
			vlans = append(vlans, i)
		default:
			nics = append(nics, i)
		}
	}
	return append(nics, vlans...), nil
}

// leavesTags returns an error if XDP at an interface would take frames of its VLAN
// devices for its own.
func leavesTags(i Interface) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("links: %w", err)
	}
	var features map[string]ethnl.Feature
	for _, l := range links {
		v, ok := l.(*netlink.Vlan)
		if !ok || v.ParentIndex != i.Index || v.NetNsID >= 0 {
			continue
		}
		if features == nil {
			if features, err = featuresOf(i.Name); err != nil {
				return refusal{err}
			}
		}
		if name := tagFeatures[v.VlanProtocol]; name == "" || features[name].Active {
			return refusef("interface %s: XDP cannot tell the frames of %s from its own, as the interface takes the tags out: turn its feature %s off", i.Name, v.Name, name)
		}
	}
	return nil
}

func featuresOf(name string) (map[string]ethnl.Feature, error) {
	c, err := ethnl.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Features(name)
}

// networkOrder is a number as it is in a packet.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// tag puts what XDP has to know to send by a VLAN's device into its entry.
func tag(e *l2TCIface, v *netlink.Vlan) {
	e.Parent = uint32(v.ParentIndex)
	e.VlanProto = networkOrder(uint16(v.VlanProtocol))
	e.VlanTci = networkOrder(uint16(v.VlanId))
}

// attachVLAN has XDP receive for a VLAN's device, by the program of its NIC.
func (r *replacement) attachVLAN(i Interface, v *netlink.Vlan) error {
	nic := r.attachedNIC(v)
	switch {
	case nic == nil:
		return refusef("interface %s: its NIC runs no XDP", i.Name)
	case v.MasterIndex != 0:
		return refusef("interface %s: it is part of another interface", i.Name)
	case len(v.IngressQosMap)+len(v.EgressQosMap) > 0:
		return refusef("interface %s: XDP does not map priorities", i.Name)
	case v.ReorderHdr != nil && !*v.ReorderHdr:
		return refusef("interface %s: with reorder_hdr off its frames have their tags", i.Name)
	}
	l, err := netlink.LinkByIndex(nic.Index)
	if err != nil {
		return fmt.Errorf("interface %s: %w", nic.Name, err)
	}
	// veth counts the tag, and drops what is larger.
	if l.Type() == "veth" && v.MTU+4 > l.Attrs().MTU {
		return refusef("interface %s: its MTU leaves no room for the tag in that of %s", i.Name, nic.Name)
	}
	key := l2TCVlanKey{Parent: uint32(v.ParentIndex), Proto: networkOrder(uint16(v.VlanProtocol)), Id: uint16(v.VlanId)}
	return r.put(r.loaded.maps["l2_vlans"], key, uint32(i.Index))
}

// attachedNIC is the interface that a VLAN is on, if it runs XDP.
func (r *replacement) attachedNIC(v *netlink.Vlan) *InterfaceStatus {
	for n := range r.interfaces {
		if s := &r.interfaces[n]; s.Index == v.ParentIndex && s.XDP == XDPNative {
			return s
		}
	}
	return nil
}

// forgetVLANs ends that XDP receives for devices that are not among those attached.
func (r *replacement) forgetVLANs() error {
	m := r.loaded.maps["l2_vlans"]
	var gone []l2TCVlanKey
	var key l2TCVlanKey
	var index uint32
	it := m.Iterate()
	for it.Next(&key, &index) {
		if !r.hasXDP(index) {
			gone = append(gone, key)
		}
	}
	errs := []error{it.Err()}
	for _, key := range gone {
		errs = append(errs, r.remove(m, key))
	}
	return errors.Join(errs...)
}

func (r *replacement) hasXDP(index uint32) bool {
	for _, s := range r.interfaces {
		if s.Index == int(index) {
			return s.XDP == XDPNative
		}
	}
	return false
}
