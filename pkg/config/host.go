// SPDX-License-Identifier: GPL-2.0-only

package config

import "fmt"

// MissingInterfaces returns an error for each interface that the
// file demands, present does not have and the section host does not make; nil when
// there is none. The error is
// a List that names the interfaces of the host.
func (c *Config) MissingInterfaces(present []string) error {
	have := make(map[string]bool, len(present))
	for _, name := range append(c.Host.Made(), present...) {
		have[name] = true
	}
	var errs List
	for i, f := range c.Dataplane.Interfaces {
		if f.Optional || have[f.Name] || !c.Sound("host.links."+f.Name) {
			continue
		}
		errs = append(errs, Error{
			File: c.Path, Line: f.at.line, Column: f.at.column,
			Key: fmt.Sprintf("dataplane.interfaces[%d].name", i), Value: f.Name,
			Problem: "no such interface",
			Want:    "one of " + interfaceNames(present) + ", or optional: true for one that may appear later",
		})
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// interfaceNames lists what could be attached, without the loopback device.
func interfaceNames(present []string) string {
	s := ""
	for _, name := range present {
		if !isInterfaceName(name) {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += name
	}
	if s == "" {
		return "the host's interfaces (it has none but lo)"
	}
	return s
}
