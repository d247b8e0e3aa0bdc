// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Llama is an instance of llama.cpp's server: a model that answers over HTTP.
type Llama struct {
	Service
	Name string `json:"name"`
	// Model is the path of a GGUF file.
	Model string `json:"model"`
	// Listen is an IP address and a TCP port.
	Listen netip.AddrPort `json:"listen"`
	// User is whom it runs as.
	User string `json:"user"`
	// Context is how many tokens it takes into account; 0: as many as the model says.
	Context uint32 `json:"context,omitempty"`
	// FlashAttention is on, off or auto.
	FlashAttention string `json:"flash_attention"`
	// GPULayers is a number, auto or all; empty leaves it to the server.
	GPULayers string `json:"gpu_layers,omitempty"`
	// Threads and Parallel are how many threads compute, and requests are answered at the same
	// time; 0 leaves it to the server.
	Threads  uint32 `json:"threads,omitempty"`
	Parallel uint32 `json:"parallel,omitempty"`
	// Devices are those of a GPU, in /dev.
	Devices []string `json:"devices,omitempty"`
	// APIKey is what clients have to know; nil: nothing.
	APIKey *Secret `json:"api_key,omitempty"`
	// StartTimeout is how long the model may take to load.
	StartTimeout time.Duration `json:"start_timeout"`
}

// Words of flash_attention and gpu_layers.
const (
	wordOn   = "on"
	wordOff  = "off"
	wordAuto = "auto"
	wordAll  = "all"
)

func (d *decoder) llamas(v node, c *Services) {
	v.list("instances, such as [{name: qwen, model: /var/lib/llama/qwen.gguf}]", func(_ int, v node) {
		l := Llama{
			Service: newService(v), User: "llama", Listen: netip.MustParseAddrPort("127.0.0.1:8080"), FlashAttention: wordAuto,
			StartTimeout: 2 * time.Minute,
		}
		ok := d.service(v, &l.Service, map[string]field{
			"name":            func(v node) { v.str(&l.Name, wantUnitName, isUnitName) },
			"model":           func(v node) { v.str(&l.Model, "an absolute path of a GGUF file", isCleanAbs) },
			"listen":          func(v node) { v.addrPort(&l.Listen) },
			"user":            func(v node) { v.str(&l.User, "a user's name", isUser) },
			"context":         func(v node) { v.number(&l.Context, 1, math.MaxInt32) },
			"flash_attention": func(v node) { v.onOffAuto(&l.FlashAttention) },
			"gpu_layers":      func(v node) { v.gpuLayers(&l.GPULayers) },
			"threads":         func(v node) { v.number(&l.Threads, 1, 1024) },
			"parallel":        func(v node) { v.number(&l.Parallel, 1, 1024) },
			"devices":         func(v node) { v.devices(&l.Devices) },
			"api_key":         func(v node) { v.secret(&l.APIKey) },
			"start_timeout":   func(v node) { v.within(&l.StartTimeout, time.Second, time.Hour) },
		})
		if !ok {
			return
		}
		at := positionOf(v.n)
		missing := func(key, want string) {
			d.add(Error{Line: at.line, Column: at.column, Key: v.key + "." + key, Problem: "is missing", Want: want})
		}
		if l.Name == "" {
			missing("name", wantUnitName)
			return
		}
		if l.Model == "" && l.Mode != ModeWatch {
			missing("model", "the path of a GGUF file: without a model it answers nothing")
			return
		}
		for i := range c.Llama {
			o := &c.Llama[i]
			switch {
			case o.Name == l.Name:
				v.failf(fmt.Sprintf("named as the one on line %d", o.at.line), "each name once")
			case o.Listen == l.Listen:
				v.failf(fmt.Sprintf("listens at %v, as the one on line %d", l.Listen, o.at.line), "another port")
			}
		}
		c.Llama = append(c.Llama, l)
	})
}

// addrPort reads an IP address and a port.
func (v node) addrPort(dst *netip.AddrPort) {
	var text string
	accept := func(s string) bool { return s != "" && isListen(s) }
	if v.str(&text, "an IP address and a port, such as 127.0.0.1:8090", accept); text != "" {
		*dst = netip.MustParseAddrPort(text)
	}
}

// onOffAuto reads a word that some YAML is a truth value.
func (v node) onOffAuto(dst *string) {
	if b, ok := v.n.(*ast.BoolNode); ok {
		*dst = wordOff
		if b.Value {
			*dst = wordOn
		}
		return
	}
	v.oneOf(dst, wordOn, wordOff, wordAuto)
}

func (v node) gpuLayers(dst *string) {
	if _, ok := v.n.(*ast.IntegerNode); ok {
		var x uint32
		v.number(&x, 0, 1<<16)
		*dst = strconv.Itoa(int(x))
		return
	}
	v.oneOf(dst, wordAuto, wordAll)
}

func (v node) devices(dst *[]string) {
	const want = "a device, such as /dev/nvidia0"
	v.list("devices, such as [/dev/nvidia0]", func(_ int, v node) {
		var name string
		v.str(&name, want, func(s string) bool { return isCleanAbs(s) && strings.HasPrefix(s, "/dev/") && filepath.Dir(s) != "/" })
		if name != "" {
			*dst = append(*dst, name)
		}
	})
}
