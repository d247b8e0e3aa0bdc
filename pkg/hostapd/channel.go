// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// Bands, by the names that interfaces of radios are given.
const (
	Band2 = config.Band2
	Band5 = config.Band5
	Band6 = config.Band6
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

// Channel is where a radio is.
type Channel struct {
	// Band is Band2, Band5 or Band6.
	Band string
	// Number is that of the primary channel, Width in MHz.
	Number, Width int
}

// base is the frequency in MHz of channel 0 of a band.
func base(band string) int {
	switch band {
	case Band2:
		return 2407
	case Band5:
		return 5000
	}
	return 5950
}

// Frequency is that of the primary channel in MHz.
func (c Channel) Frequency() int {
	if c.Band == Band2 && c.Number == 14 {
		return 2484
	}
	return base(c.Band) + 5*c.Number
}

// Center is the number of the channel in the middle of all that is used: 42 for channel 36
// with 80 MHz.
func (c Channel) Center() int {
	if c.Width <= 20 {
		return c.Number
	}
	if c.Band == Band2 {
		return c.Number + 2*c.Secondary()
	}
	first := c.first()
	block := c.Width / 5 // numbers of channels are 5 MHz apart
	return first + (c.Number-first)/block*block + block/2 - 2
}

// first is the number of the first channel of the part of the band that wider ones are counted from.
func (c Channel) first() int {
	switch {
	case c.Band == Band6:
		return 1
	case c.Number >= 149:
		return 149
	case c.Number >= 100:
		return 100
	}
	return 36
}

// CenterFrequency is that of [Channel.Center] in MHz.
func (c Channel) CenterFrequency() int {
	if c.Width <= 20 {
		return c.Frequency()
	}
	return base(c.Band) + 5*c.Center()
}

// Secondary is on which side the other half of the first 40 MHz is: 1 above, -1 below, 0 if
// only 20 MHz are used.
func (c Channel) Secondary() int {
	switch {
	case c.Width <= 20:
		return 0
	case c.Band == Band2:
		if c.Number <= 7 {
			return 1
		}
		return -1
	case (c.Number-c.first())/4%2 == 0:
		return 1
	}
	return -1
}

// Radar tells whether a radio has to listen for radar before it sends: where most countries have
// it so, with all of its width.
func (c Channel) Radar() bool {
	last := c.Center() + c.Width/10 - 2
	return c.Band == Band5 && last > 48 && c.Number < 149
}

// Problem says what is wrong with a channel, by its numbers alone: what a country allows is the
// kernel's to know. It is empty if nothing is.
func (c Channel) Problem() (problem, want string) {
	switch c.Band {
	case Band2:
		if c.Number < 1 || c.Number > 14 {
			return "is no channel of 2.4 GHz", "1 to 14"
		}
		if c.Width > 40 || c.Width == 40 && c.Number > 13 {
			return fmt.Sprintf("there are no %d MHz there", c.Width), "20 or 40 MHz"
		}
	case Band5:
		if c.Number < 36 || c.Number > 177 || c.Number > 64 && c.Number < 100 || c.Number > 144 && c.Number < 149 || (c.Number-c.first())%4 != 0 {
			return "is no channel of 5 GHz", "36 to 64 and 100 to 144 in steps of 4, or 149 to 177"
		}
		if c.Width == 160 && c.Number > 128 && c.Number < 149 {
			return "there are no 160 MHz around it", "80 MHz"
		}
	case Band6:
		if c.Number < 1 || c.Number > 233 || (c.Number-1)%4 != 0 {
			return "is no channel of 6 GHz", "1 to 233 in steps of 4"
		}
		if c.Width > 20 && c.Number == 233 || c.Width > 40 && c.Number > 221 {
			return fmt.Sprintf("there are no %d MHz around it", c.Width), "20 MHz"
		}
	}
	return "", ""
}
