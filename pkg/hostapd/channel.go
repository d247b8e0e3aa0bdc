// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import "fmt"

// Bands, by the names that interfaces of radios are given.
const (
	Band2 = "2g"
	Band5 = "5g"
	Band6 = "6g"
)

// BandOf is the band of a frequency in MHz.
func BandOf(mhz int) string {
	switch {
	case mhz < 3000:
		return Band2
	case mhz < 5925:
		return Band5
	case mhz < 7200:
		return Band6
	}
	return fmt.Sprintf("%dg", mhz/1000)
}
