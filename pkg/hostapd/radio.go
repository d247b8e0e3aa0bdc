// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mdlayher/wifi"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// checkRadio refuses what the kernel knows that a radio cannot do, and its country does not
// allow. As long as the kernel is not set to the country it cannot tell.
func checkRadio(u *service.Unit) error {
	link := u.Params[interfaceParam]
	c, err := wifi.New()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: this kernel has no radio", link)
	}
	if err != nil {
		return fmt.Errorf("radios: %w", err)
	}
	defer func() { _ = c.Close() }()
	links, err := c.Interfaces()
	if err != nil {
		return fmt.Errorf("radios: %w", err)
	}
	at := slices.IndexFunc(links, func(l *wifi.Interface) bool { return l.Name == link })
	if at < 0 {
		return fmt.Errorf("%s is no interface of a radio", link)
	}
	phys, err := c.PHYs()
	if err != nil {
		return fmt.Errorf("radios: %w", err)
	}
	for _, p := range phys {
		if p.Index == links[at].PHY {
			return checkPHY(p, link, unitChannel(u), u.Params[countryParam], region(c))
		}
	}
	return nil
}

// region is the country that the kernel is set to; empty if that cannot be told.
func region(c *wifi.Client) string {
	d, err := c.GetRegulatoryDomain()
	if err != nil {
		return ""
	}
	return d.Region
}

// checkPHY looks at what a radio says of itself.
func checkPHY(p *wifi.PHY, link string, to Channel, country, region string) error {
	if !slices.Contains(p.SupportedIftypes, wifi.InterfaceTypeAP) {
		return fmt.Errorf("%s: its radio cannot be an access point", link)
	}
	for _, b := range p.BandAttributes {
		for _, f := range b.FrequencyAttributes {
			if f.Frequency != to.Frequency() {
				continue
			}
			switch {
			case region != country:
				return nil
			case f.Disabled:
				return fmt.Errorf("%s: channel %d is not allowed in %s", link, to.Number, country)
			case f.NoIR && !f.RadarDetection:
				return fmt.Errorf("%s: no access point may be on channel %d in %s", link, to.Number, country)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: its radio has no channel %d of %s", link, to.Number, bandText[to.Band])
}

var bandText = map[string]string{Band2: "2.4 GHz", Band5: "5 GHz", Band6: "6 GHz"}
