// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/randomizedcoder/l2d/pkg/config"
)

const head = "# Made by l2d from services.recursor and network.lan: changes here are undone.\n"

// paths are what a configuration names of the host.
type paths struct {
	run string // the directory of the control socket
	lua string // the file with trust anchors, for version 4
}

// logLevel is that of notices: each command that it is asked by is one of information, and l2d asks it all the time.
const logLevel = 5

// keyed is a setting of version 4.
type keyed struct{ key, value string }

// webServer is what there is of it.
type webServer struct {
	key string
	// allow are the networks that it answers: it does not read them again, so these are not those that come and go.
	allow []netip.Prefix
}

// keys are the settings of version 4.
func keys(r *config.Recursor, p paths, w webServer) []keyed {
	list := []keyed{
		{"daemon", "no"}, {"disable-syslog", "yes"}, {"log-timestamp", "no"}, {"quiet", "yes"}, {"loglevel", fmt.Sprint(logLevel)}, {"write-pid", "no"},
		{"socket-dir", p.run}, {"lua-config-file", p.lua},
		{"local-address", join(r.Listen)}, {"local-port", "53"}, {"non-local-bind", "yes"},
		{"allow-from", join(r.Allow)},
		{"dnssec", r.DNSSEC}, {"serve-rfc1918", yesNo(r.ServeRFC1918)},
		{"max-cache-entries", fmt.Sprint(r.CacheEntries)},
		{forwardKey, zones(r, false)}, {recurseKey, zones(r, true)},
		{"webserver", yesNo(r.API != nil)},
	}
	if a := r.API; a != nil {
		list = append(list, keyed{"webserver-address", a.Listen.Addr().String()}, keyed{"webserver-port", fmt.Sprint(a.Listen.Port())},
			keyed{"webserver-allow-from", join(w.allow)}, keyed{"api-key", w.key}, keyed{"webserver-password", w.key})
	}
	return list
}

const (
	allowKey   = "allow-from"
	forwardKey = "forward-zones"
	recurseKey = "forward-zones-recurse"
)

// renderKeys is recursor.conf.
func renderKeys(list []keyed) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for _, s := range list {
		fmt.Fprintf(&b, "%s=%s\n", s.key, s.value)
	}
	return b.Bytes()
}

// parseKeys is the reverse of renderKeys.
func parseKeys(b []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && !strings.HasPrefix(key, "#") {
			out[key] = value
		}
	}
	return out
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func join[T fmt.Stringer](list []T) string { return strings.Join(texts(list), ",") }

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// zones are those that are forwarded to resolvers, or to authoritative servers.
func zones(r *config.Recursor, recursive bool) string {
	var out []string
	for _, f := range r.Forward {
		if f.Recursive == recursive {
			out = append(out, f.Zone+"="+strings.Join(servers(&f), ";"))
		}
	}
	return strings.Join(out, ",")
}

func servers(f *config.ForwardZone) []string { return texts[netip.AddrPort](f.Servers) }

// renderLua is the file of version 4 for what its settings do not have.
func renderLua(r *config.Recursor) []byte {
	var b bytes.Buffer
	b.WriteString(strings.Replace(head, "#", "--", 1))
	for _, t := range r.TrustAnchors {
		for _, ds := range t.DS {
			fmt.Fprintf(&b, "addTA(%s, %s)\n", strconv.Quote(t.Zone), strconv.Quote(ds))
		}
	}
	for _, zone := range r.Insecure {
		fmt.Fprintf(&b, "addNTA(%s, \"services.recursor.insecure\")\n", strconv.Quote(zone))
	}
	return b.Bytes()
}

// settings are those of version 5.
type settings struct {
	Incoming   incoming    `yaml:"incoming"`
	DNSSEC     dnssec      `yaml:"dnssec"`
	Recursor   recursor    `yaml:"recursor"`
	Cache      recordcache `yaml:"recordcache"`
	Logging    logging     `yaml:"logging"`
	Webservice *webservice `yaml:"webservice,omitempty"`
}

type incoming struct {
	Listen       []string `yaml:"listen"`
	Port         int      `yaml:"port"`
	NonLocalBind bool     `yaml:"non_local_bind"`
	AllowFrom    []string `yaml:"allow_from"`
}

type dnssec struct {
	Validation string     `yaml:"validation"`
	Anchors    []anchor   `yaml:"trustanchors,omitempty"`
	Negative   []negative `yaml:"negative_trustanchors,omitempty"`
}

type anchor struct {
	Name string   `yaml:"name"`
	DS   []string `yaml:"dsrecords"`
}

type negative struct {
	Name   string `yaml:"name"`
	Reason string `yaml:"reason"`
}

type recursor struct {
	Daemon       bool    `yaml:"daemon"`
	WritePID     bool    `yaml:"write_pid"`
	SocketDir    string  `yaml:"socket_dir"`
	ServeRFC1918 bool    `yaml:"serve_rfc1918"`
	Forward      []zoned `yaml:"forward_zones,omitempty"`
	Recurse      []zoned `yaml:"forward_zones_recurse,omitempty"`
}

type zoned struct {
	Zone       string   `yaml:"zone"`
	Forwarders []string `yaml:"forwarders"`
}

type recordcache struct {
	MaxEntries uint32 `yaml:"max_entries"`
}

type logging struct {
	DisableSyslog bool `yaml:"disable_syslog"`
	Timestamp     bool `yaml:"timestamp"`
	Quiet         bool `yaml:"quiet"`
	Level         int  `yaml:"loglevel"`
}

type webservice struct {
	Webserver bool     `yaml:"webserver"`
	Address   string   `yaml:"address"`
	Port      uint16   `yaml:"port"`
	AllowFrom []string `yaml:"allow_from"`
	APIKey    string   `yaml:"api_key"`
	Password  string   `yaml:"password"`
}

// renderYAML is recursor.yml.
func renderYAML(r *config.Recursor, p paths, w webServer) []byte {
	s := settings{
		Incoming: incoming{Listen: texts(r.Listen), Port: 53, NonLocalBind: true, AllowFrom: texts(r.Allow)},
		DNSSEC:   dnssec{Validation: r.DNSSEC},
		Recursor: recursor{SocketDir: p.run, ServeRFC1918: r.ServeRFC1918},
		Cache:    recordcache{r.CacheEntries},
		Logging:  logging{DisableSyslog: true, Quiet: true, Level: logLevel},
	}
	for _, t := range r.TrustAnchors {
		s.DNSSEC.Anchors = append(s.DNSSEC.Anchors, anchor{t.Zone, t.DS})
	}
	for _, zone := range r.Insecure {
		s.DNSSEC.Negative = append(s.DNSSEC.Negative, negative{zone, "services.recursor.insecure"})
	}
	for _, f := range r.Forward {
		z := zoned{f.Zone, servers(&f)}
		if f.Recursive {
			s.Recursor.Recurse = append(s.Recursor.Recurse, z)
		} else {
			s.Recursor.Forward = append(s.Recursor.Forward, z)
		}
	}
	if a := r.API; a != nil {
		s.Webservice = &webservice{true, a.Listen.Addr().String(), a.Listen.Port(), texts(w.allow), w.key, w.key}
	}
	b, err := yaml.Marshal(s)
	if err != nil {
		panic(err) // no type of it can fail
	}
	return append([]byte(head), b...)
}
