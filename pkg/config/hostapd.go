// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Hostapd has access points: a process for each radio.
type Hostapd struct {
	Service
	// Country is where the radios are: two letters of ISO 3166. Empty is not said, which only
	// ModeWatch has.
	Country string `json:"country,omitempty"`
	// Bridge is what stations are ports of; empty for none.
	Bridge string `json:"bridge,omitempty"`
	// ControlDir has the control interfaces, if somebody else runs hostapd.
	ControlDir string `json:"control_dir,omitempty"`
	// IOClass is that of the processes; empty is not said.
	IOClass string `json:"io_class,omitempty"`
	// Radios are in the order of the file.
	Radios []Radio `json:"radios"`
}

// Securities of a wireless network.
const (
	WPA3           = "wpa3"            // SAE alone, with protected management frames
	WPA3Transition = "wpa3-transition" // SAE, and PSK for old stations
)

// Bands of radios.
const (
	Band2 = "2g"
	Band5 = "5g"
	Band6 = "6g"
)

// Standards of radios, from the oldest.
var Standards = []string{"n", "ac", "ax"}

// Radio is an access point. What is not of the radio itself is that of all, if the file does not say it
// for this one.
type Radio struct {
	Interface string `json:"interface"`
	// Band is Band2, Band5 or Band6, Channel the primary one, and Width in MHz.
	Band    string `json:"band"`
	Channel uint32 `json:"channel"`
	Width   uint32 `json:"width"`
	// Standard is the newest of Standards that the radio has.
	Standard string `json:"standard"`
	// HTCapabilities and VHTCapabilities are words of hostapd for what the radio can do.
	HTCapabilities  []string `json:"ht_capabilities,omitempty"`
	VHTCapabilities []string `json:"vht_capabilities,omitempty"`

	SSID       string  `json:"ssid"`
	Passphrase *Secret `json:"passphrase"`
	// Security is WPA3 or WPA3Transition.
	Security string `json:"security"`
	// Hidden: beacons do not have the SSID. Isolate: stations do not reach one another.
	Hidden  bool `json:"hidden,omitempty"`
	Isolate bool `json:"isolate,omitempty"`
	// MaxStations is how many may be associated; 0: as many as there can be.
	MaxStations uint32 `json:"max_stations,omitempty"`
	// WMM is how stations contend for the medium, by access category: all four.
	WMM map[string]WMM `json:"wmm"`

	at position
}

// At is an error with the place of the radio in a file.
func (r *Radio) At(file string) Error {
	return Error{File: file, Line: r.at.line, Column: r.at.column, Key: "services.hostapd.radios." + r.Interface}
}

// WMM is how stations contend for the medium: IEEE 802.11, EDCA parameters.
type WMM struct {
	// AIFS is the wait in slots. The contention windows have 2^CWMin-1 to 2^CWMax-1 slots.
	AIFS  uint32 `json:"aifs"`
	CWMin uint32 `json:"cwmin"`
	CWMax uint32 `json:"cwmax"`
	// TXOPLimit is how long one may send, in 32 µs; 0 is one frame.
	TXOPLimit uint32 `json:"txop_limit"`
	// ACM has stations ask before they send.
	ACM bool `json:"acm"`
}

// defaultWMM are the parameters of IEEE 802.11, table 9-137.
func defaultWMM() map[string]WMM {
	return map[string]WMM{
		"bk": {AIFS: 7, CWMin: 4, CWMax: 10}, "be": {AIFS: 3, CWMin: 4, CWMax: 10},
		"vi": {AIFS: 2, CWMin: 3, CWMax: 4, TXOPLimit: 94}, "vo": {AIFS: 2, CWMin: 2, CWMax: 3, TXOPLimit: 47},
	}
}

// DefaultControlDir is where hostapd usually has its control interfaces.
const DefaultControlDir = "/run/hostapd"

func (d *decoder) hostapd(v node, c *Services) {
	h := &Hostapd{Service: newService(v)}
	all := Radio{Security: WPA3, WMM: defaultWMM()}
	var radios node
	fields := map[string]field{
		"country":     func(v node) { v.str(&h.Country, "two letters, such as US", isCountry) },
		"bridge":      func(v node) { v.str(&h.Bridge, "an interface's name", isInterfaceName) },
		"control_dir": func(v node) { v.str(&h.ControlDir, "an absolute path, such as "+DefaultControlDir, isCleanAbs) },
		"io_class":    func(v node) { v.oneOf(&h.IOClass, "realtime", "best-effort", "idle") },
		"radios":      func(v node) { radios = v },
	}
	maps.Copy(fields, d.wireless(&all))
	if !d.service(v, &h.Service, fields) {
		return
	}
	missing := func(key, want string) {
		d.add(Error{Line: h.at.line, Column: h.at.column, Key: v.key + "." + key, Problem: "is missing", Want: want})
	}
	watch := h.Mode == ModeWatch
	switch {
	case radios.n == nil:
		missing("radios", "radios by the names of their interfaces, such as {wlan0: {channel: 36}}")
	case h.Country == "" && !watch:
		missing("country", "where the radios are, such as US")
	case h.ControlDir != "" && !watch:
		d.add(Error{Line: h.at.line, Column: h.at.column, Key: v.key + ".control_dir", Problem: "is l2d's own, as it runs hostapd", Want: "no such key, or mode: watch"})
	}
	if watch && h.ControlDir == "" {
		h.ControlDir = DefaultControlDir
	}
	if radios.n != nil {
		d.radios(radios, h, all)
	}
	c.Hostapd = h
}

// wireless are the keys of all radios and of each.
func (d *decoder) wireless(r *Radio) map[string]field {
	return map[string]field{
		"ssid":         func(v node) { v.str(&r.SSID, "a name of 1 to 32 bytes without control characters", isSSID) },
		"passphrase":   func(v node) { v.secret(&r.Passphrase) },
		"security":     func(v node) { v.oneOf(&r.Security, WPA3, WPA3Transition) },
		"hidden":       func(v node) { v.boolean(&r.Hidden) },
		"isolate":      func(v node) { v.boolean(&r.Isolate) },
		"max_stations": func(v node) { v.number(&r.MaxStations, 1, 2007) },
		"wmm":          func(v node) { r.WMM = d.wmm(v, r.WMM) },
	}
}

func (d *decoder) radios(v node, h *Hostapd, all Radio) {
	v.entries("radios by the names of their interfaces, such as {wlan0: {channel: 36}}", func(name, v node) {
		r := all
		r.Interface, r.Standard, r.at = name.text(), Standards[len(Standards)-1], positionOf(name.n)
		if !isInterfaceName(r.Interface) || !isUnitName(r.Interface) {
			name.fail("an interface's name of lower-case letters, digits and _, such as wlan_5g")
			return
		}
		if h.Mode == ModeWatch {
			if _, none := v.n.(*ast.NullNode); none {
				h.Radios = append(h.Radios, r)
				return
			}
		}
		if !v.given(name) {
			return
		}
		before := len(d.errs)
		fields := map[string]field{
			"band":             func(v node) { v.oneOf(&r.Band, Band2, Band5, Band6) },
			"channel":          func(v node) { v.number(&r.Channel, 1, 233) },
			"width":            func(v node) { v.width(&r.Width) },
			"standard":         func(v node) { v.oneOf(&r.Standard, Standards...) },
			"ht_capabilities":  func(v node) { v.capabilities(&r.HTCapabilities) },
			"vht_capabilities": func(v node) { v.capabilities(&r.VHTCapabilities) },
		}
		maps.Copy(fields, d.wireless(&r))
		if v.mapping(fields) && len(d.errs) == before {
			d.radio(&r, h.Mode == ModeWatch)
		}
		if len(d.errs) == before {
			h.Radios = append(h.Radios, r)
		}
	})
}

// radio checks what goes with what, and fills in what follows from the rest.
func (d *decoder) radio(r *Radio, watched bool) {
	wrong := func(key, problem, want string) {
		e := r.At("")
		e.Key += key
		e.Problem, e.Want = problem, want
		d.add(e)
	}
	if r.Band == "" {
		r.Band = Band2
		if r.Channel > 14 {
			r.Band = Band5
		}
	}
	if r.Width == 0 {
		r.Width = 20
		if r.Band != Band2 {
			r.Width = 80
		}
		if r.Standard == "n" {
			r.Width = min(r.Width, 40)
		}
	}
	if watched {
		return
	}
	switch {
	case r.Channel == 0:
		wrong(".channel", "is missing", "the number of a channel, such as 36")
	case r.SSID == "":
		wrong(".ssid", "is missing", "the name of the network, here or for all radios")
	case r.Passphrase == nil:
		wrong(".passphrase", "is missing", "the path of a file that has it, here or for all radios")
	case r.Band == Band6 && r.Security != WPA3:
		wrong(".security", "6 GHz has nothing older than WPA3", WPA3)
	case r.Band == Band6 && r.Standard != "ax":
		wrong(".standard", "6 GHz has nothing older", "ax")
	case r.Band == Band2 && r.Standard == "ac":
		wrong(".standard", "802.11ac is for 5 GHz", "n or ax")
	case r.Standard == "n" && r.Width > 40:
		wrong(".width", "802.11n has no more than 40 MHz", "20 or 40, or a newer standard")
	}
}

// width reads the width of a channel in MHz.
func (v node) width(dst *uint32) {
	const want = "20, 40, 80 or 160"
	n, ok := v.n.(*ast.IntegerNode)
	if !ok {
		v.fail(want)
		return
	}
	switch n.Token.Value {
	case "20", "40", "80", "160":
		v.number(dst, 20, 160)
	default:
		v.fail(want)
	}
}

func (v node) capabilities(dst *[]string) {
	v.list("hostapd's words for what a radio can do, such as [SHORT-GI-20]", func(_ int, v node) {
		var word string
		if v.str(&word, "a word of hostapd, such as SHORT-GI-20", isCapability); word != "" {
			*dst = append(*dst, word)
		}
	})
}

// isCapability tells a word; which channels are used is said by their width.
func isCapability(s string) bool {
	return s != "" && s != "HT40+" && s != "HT40-" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+") == ""
}

// wmm reads parameters by access category, over those that there are.
func (d *decoder) wmm(v node, base map[string]WMM) map[string]WMM {
	out := maps.Clone(base)
	fields := map[string]field{}
	for _, ac := range AccessCategories {
		fields[ac] = func(v node) {
			w := out[ac]
			before := len(d.errs)
			v.mapping(map[string]field{
				"aifs":       func(v node) { v.number(&w.AIFS, 1, 15) },
				"cwmin":      func(v node) { v.number(&w.CWMin, 0, 15) },
				"cwmax":      func(v node) { v.number(&w.CWMax, 0, 15) },
				"txop_limit": func(v node) { v.number(&w.TXOPLimit, 0, 65535) },
				"acm":        func(v node) { v.boolean(&w.ACM) },
			})
			if len(d.errs) == before && w.CWMin > w.CWMax {
				v.failf(fmt.Sprintf("cwmin %d is more than cwmax %d", w.CWMin, w.CWMax), "at most as much: both are exponents of 2")
			}
			out[ac] = w
		}
	}
	v.mapping(fields)
	return out
}

func isCountry(s string) bool {
	return len(s) == 2 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func isSSID(s string) bool {
	return s != "" && len(s) <= 32 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
