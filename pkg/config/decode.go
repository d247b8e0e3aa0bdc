// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/randomizedcoder/l2d/internal/located"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// decoder collects the problems of one file.
type decoder struct {
	file string
	errs List
	// describes has values not read, but what they may be found out.
	describes bool
	// needCPUs are values that mean dataplane.cpus.
	needCPUs []node
	// withSlice are the services, which may be in a slice.
	withSlice []*Service
	// anchors are the values that a name was given to.
	anchors map[string]ast.Node
}

func (d *decoder) add(e Error) {
	if d.describes {
		return
	}
	e.File = d.file
	d.errs = append(d.errs, e)
}

// A Judge says what else is wrong with a configuration than how it is written. It may be
// given one that could not be read as a whole: [Config.Sound] tells what could.
type Judge func(*Config) error

// Parse reads src, the contents of the file at path, and fills in defaults.
// Relative paths in it are relative to the directory of path. The error joins an
// [Error] for every problem found and what judges say, in the order of the file.
func Parse(path string, src []byte, judges ...Judge) (*Config, error) {
	d := &decoder{file: path}
	root, err := d.document(src)
	if err != nil {
		return nil, err
	}
	cfg := Default()
	cfg.Path, cfg.Text = path, string(src)
	d.config(node{d: d, n: root}, &cfg)
	cfg.manageQueues()
	dir := filepath.Dir(path)
	if !cfg.Dataplane.Kernel() && !filepath.IsAbs(cfg.Dataplane.Ruleset) {
		cfg.Dataplane.Ruleset = filepath.Join(dir, cfg.Dataplane.Ruleset)
	}
	cfg.wrong = d.errs
	var errs []error
	if len(d.errs) > 0 {
		errs = []error{d.errs}
	}
	for _, judge := range judges {
		errs = append(errs, judge(&cfg))
	}
	if err := located.Join(errs...); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// byteOrderMark is what some editors begin a file in UTF-8 with. YAML has it mean nothing.
var byteOrderMark = []byte("\ufeff")

// document returns the only document of the file.
func (d *decoder) document(src []byte) (ast.Node, error) {
	file, err := parser.ParseBytes(bytes.TrimPrefix(src, byteOrderMark), 0)
	if err != nil {
		e := Error{Problem: "not YAML: " + err.Error()}
		var ye yaml.Error
		if errors.As(err, &ye) {
			e.Problem = "not YAML: " + ye.GetMessage()
			if t := ye.GetToken(); t != nil && t.Position != nil {
				e.Line, e.Column = t.Position.Line, t.Position.Column
			}
		}
		d.add(e)
		return nil, d.errs
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if _, comment := doc.Body.(*ast.CommentGroupNode); comment {
			continue
		}
		if body != nil {
			at := positionOf(doc.Body)
			d.add(Error{Line: at.line, Column: at.column, Problem: "a second document", Want: "one document"})
			return nil, d.errs
		}
		body = doc.Body
	}
	if body == nil {
		d.add(Error{Line: 1, Column: 1, Problem: "is empty", Want: "at least dataplane.ruleset and dataplane.interfaces"})
		return nil, d.errs
	}
	return body, nil
}

func (d *decoder) config(v node, c *Config) {
	at := position{1, 1}
	var log node
	v.mapping(map[string]field{
		"dataplane": func(v node) {
			at = positionOf(v.n)
			d.dataplane(v, &c.Dataplane)
		},
		"conntrack": func(v node) { d.conntrack(v, &c.Conntrack) },
		"nat":       func(v node) { d.nat(v, &c.NAT) },
		"host":      func(v node) { d.host(v, &c.Host) },
		"network":   func(v node) { d.network(v, &c.Network) },
		"services":  func(v node) { d.services(v, &c.Services) },
		"control":   func(v node) { d.control(v, &c.Control) },
		"metrics":   func(v node) { d.metrics(v, &c.Metrics) },
		"log":       func(v node) { d.log(v, &c.Log); log = v },
	})
	if c.NAT.Log && (c.Log.Level == LogWarn || c.Log.Level == LogError) {
		log.failf("level "+c.Log.Level+" leaves out what nat.log writes", "level info or debug")
	}
	d.checkCPUs(c)
	d.checkShapers(c)
	c.fillNetwork()
	c.fillRecursor()
	d.checkSlices(&c.Services)
	if d.sound("network", "host.links") { // of which the LAN is made
		d.checkRadvd(c)
		d.checkKea(c)
	}
	// A section that is broken has its own error: a key may just be misspelt.
	if d.sound("dataplane") {
		d.required(c, at)
	}
}

// sound is [Config.Sound] of what has been read so far.
func (d *decoder) sound(keys ...string) bool { return d.errs.without(keys...) }

// required reports the keys that have no default and are missing, at the
// section where they belong.
func (d *decoder) required(c *Config, at position) {
	if c.Dataplane.Ruleset == "" {
		d.add(Error{Line: at.line, Column: at.column, Key: "dataplane.ruleset", Problem: "is missing", Want: "the path of an nftables file, or kernel"})
	}
	if len(c.Dataplane.Interfaces) == 0 {
		d.add(Error{Line: at.line, Column: at.column, Key: "dataplane.interfaces", Problem: "is missing", Want: "a list of at least one interface, such as [{name: eth0}]"})
	}
}

func (d *decoder) dataplane(v node, c *Dataplane) {
	var mirror, sets node
	v.mapping(map[string]field{
		"ruleset": func(v node) {
			c.rulesetAt = positionOf(v.n)
			v.str(&c.Ruleset, "the path of an nftables file, or kernel", isPath)
		},
		"mirror":     func(v node) { v.boolean(&c.Mirror); mirror = v },
		"reevaluate": func(v node) { v.boolean(&c.Reevaluate) },
		"mark_ect1":  func(v node) { v.boolean(&c.MarkECT1) },
		"pin_path":   func(v node) { v.str(&c.PinPath, "an absolute path on a bpffs, such as "+DefaultPinPath, isCleanAbs) },
		"interfaces": func(v node) { d.interfaces(v, c) },
		"ntuple":     func(v node) { d.ntuples(v, c) },
		"sets":       func(v node) { d.followedSets(v, c); sets = v },
		"cpus":       func(v node) { v.cpuList(&c.CPUs); c.cpusAt = positionOf(v.n) },
	})
	if c.Sets != nil && c.Kernel() {
		sets.failf("sets of the kernel's ruleset are those who write it", "a ruleset file")
	}
	if c.Mirror && c.Kernel() {
		mirror.failf("the kernel's ruleset needs no mirror", "false, or the path of a file as the ruleset")
	}
	d.bindNTuples(c)
}

func (d *decoder) interfaces(v node, c *Dataplane) {
	first := make(map[string]position)
	v.list("interfaces, such as [{name: eth0}]", func(_ int, v node) {
		i := Interface{XDP: XDPAuto, at: positionOf(v.n)}
		before := len(d.errs)
		var at node
		ok := v.mapping(map[string]field{
			"name": func(v node) {
				at, i.at = v, positionOf(v.n)
				v.str(&i.Name, "an interface name of 1 to 15 characters without spaces, / or :, other than lo", isInterfaceName)
			},
			"xdp":      func(v node) { v.oneOf(&i.XDP, XDPAuto, XDPNative, XDPOff) },
			"aqm":      func(v node) { v.boolean(&i.AQM); i.saysAQM = true },
			"optional": func(v node) { v.boolean(&i.Optional) },
		})
		switch other, again := first[i.Name]; {
		case !ok || len(d.errs) > before:
		case at.n == nil:
			p := positionOf(v.n)
			d.add(Error{Line: p.line, Column: p.column, Key: v.key + ".name", Problem: "is missing", Want: "the name of the interface"})
		case again:
			at.failf(fmt.Sprintf("listed twice, first on line %d", other.line), "each interface once")
		default:
			first[i.Name] = i.at
			c.Interfaces = append(c.Interfaces, i)
		}
	})
}

func (d *decoder) conntrack(v node, c *Conntrack) {
	v.mapping(map[string]field{
		"max_flows":     func(v node) { v.number(&c.MaxFlows, MinFlows, MaxFlows) },
		"max_half_open": func(v node) { v.number(&c.MaxHalfOpen, MinFlows, MaxFlows) },
		"accounting":    func(v node) { v.boolean(&c.Accounting) },
		"timeouts":      func(v node) { d.timeouts(v, &c.Timeouts) },

		"max_flows_per_source": func(v node) { v.number(&c.MaxFlowsPerSource, MinFlows, MaxFlows) },

		"tcp_be_liberal":         func(v node) { v.boolean(&c.BeLiberal) },
		"tcp_loose":              func(v node) { v.boolean(&c.Loose) },
		"tcp_ignore_invalid_rst": func(v node) { v.boolean(&c.IgnoreInvalidRST) },
		"tcp_max_retrans":        func(v node) { v.number(&c.MaxRetrans, 1, 255) },
	})
}

func (d *decoder) timeouts(v node, t *flow.Timeouts) {
	v.mapping(map[string]field{
		"tcp_syn_sent":           func(v node) { v.seconds(&t.TCPSynSent) },
		"tcp_syn_recv":           func(v node) { v.seconds(&t.TCPSynRecv) },
		"tcp_established":        func(v node) { v.seconds(&t.TCPEstablished) },
		"tcp_fin_wait":           func(v node) { v.seconds(&t.TCPFinWait) },
		"tcp_close_wait":         func(v node) { v.seconds(&t.TCPCloseWait) },
		"tcp_last_ack":           func(v node) { v.seconds(&t.TCPLastAck) },
		"tcp_time_wait":          func(v node) { v.seconds(&t.TCPTimeWait) },
		"tcp_close":              func(v node) { v.seconds(&t.TCPClose) },
		"tcp_unacknowledged":     func(v node) { v.seconds(&t.TCPUnacknowledged) },
		"tcp_retransmitted":      func(v node) { v.seconds(&t.TCPRetransmitted) },
		"udp_unreplied":          func(v node) { v.seconds(&t.UDPUnreplied) },
		"udp_stream":             func(v node) { v.seconds(&t.UDPStream) },
		"sctp_closed":            func(v node) { v.seconds(&t.SCTPClosed) },
		"sctp_cookie_wait":       func(v node) { v.seconds(&t.SCTPCookieWait) },
		"sctp_cookie_echoed":     func(v node) { v.seconds(&t.SCTPCookieEchoed) },
		"sctp_established":       func(v node) { v.seconds(&t.SCTPEstablished) },
		"sctp_shutdown_sent":     func(v node) { v.seconds(&t.SCTPShutdownSent) },
		"sctp_shutdown_recd":     func(v node) { v.seconds(&t.SCTPShutdownRecd) },
		"sctp_shutdown_ack_sent": func(v node) { v.seconds(&t.SCTPShutdownAckSent) },
		"sctp_heartbeat_sent":    func(v node) { v.seconds(&t.SCTPHeartbeatSent) },
		"icmp":                   func(v node) { v.seconds(&t.ICMP) },
		"generic":                func(v node) { v.seconds(&t.Generic) },
	})
}

func (d *decoder) nat(v node, c *NAT) {
	dependences := []string{string(flow.EndpointIndependent), string(flow.AddressDependent), string(flow.EndpointDependent)}
	filtering, rest := v, v
	v.mapping(map[string]field{
		"mapping":        func(v node) { v.oneOf((*string)(&c.Mapping), dependences...) },
		"filtering":      func(v node) { v.oneOf((*string)(&c.Filtering), dependences...); filtering = v },
		"port_range":     func(v node) { v.portRange(&c.PortRange) },
		"reserved_ports": func(v node) { v.ports(&c.ReservedPorts) },
		"port_rest":      func(v node) { v.seconds(&c.PortRest); rest = v },

		"log":              func(v node) { v.boolean(&c.Log) },
		"log_destinations": func(v node) { v.boolean(&c.LogDestinations) },
		"log_rate":         func(v node) { v.number(&c.LogRate, 1, MaxLogRate) },
	})
	if slices.Index(dependences, string(c.Filtering)) < slices.Index(dependences, string(c.Mapping)) {
		filtering.failf(fmt.Sprintf("a client's port is another one %s", scopes[c.Mapping]), fmt.Sprintf("%s, or a wider mapping", c.Mapping))
	}
	if c.PortRest != 0 && c.Mapping == flow.EndpointDependent {
		rest.failf("no port is a client's for longer than a flow", "a wider mapping, or no port_rest")
	}
}

// scopes say when a mapping differs.
var scopes = map[flow.Dependence]string{
	flow.AddressDependent:  "for each remote address",
	flow.EndpointDependent: "for each remote address and port",
}

func (d *decoder) control(v node, c *Control) {
	var listen node
	before := len(d.errs)
	v.mapping(map[string]field{
		"socket": func(v node) {
			v.str(&c.Socket, "an absolute path of at most 107 bytes, such as "+DefaultSocket, isSocketPath)
		},
		"listen": func(v node) {
			listen = v
			v.str(&c.Listen, `an IP address and a port, such as 127.0.0.1:9466 or 192.168.1.1:9466, or "" for no page`, isListen)
		},
		"token": func(v node) { v.secret(&c.Token) },
	})
	if c.Listen != "" && c.Token == nil && len(d.errs) == before {
		listen.failf("nothing keeps others out", "control.token, too: the path of a file that has a token of at least 16 characters")
	}
}

func (d *decoder) metrics(v node, c *Metrics) {
	v.mapping(map[string]field{
		"listen": func(v node) {
			v.str(&c.Listen, `an IP address and a port, such as 127.0.0.1:9465 or [::1]:9465, or "" for no endpoint`, isListen)
		},
		"rules": func(v node) { v.boolean(&c.Rules) },
	})
}

func (d *decoder) log(v node, c *Log) {
	v.mapping(map[string]field{
		"level":  func(v node) { v.oneOf(&c.Level, LogDebug, LogInfo, LogWarn, LogError) },
		"format": func(v node) { v.oneOf(&c.Format, LogAuto, LogText, LogJSON) },
	})
}

// isInterfaceName is the kernel's dev_valid_name without the loopback device,
// which carries only what the router says to itself.
func isInterfaceName(s string) bool {
	if s == "" || len(s) > 15 || s == "." || s == ".." || s == "lo" {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || r == 0 })
}

func isPath(s string) bool {
	return s != "" && !strings.ContainsRune(s, 0)
}

func isCleanAbs(s string) bool {
	return isPath(s) && filepath.IsAbs(s) && filepath.Clean(s) == s && s != "/"
}

// isSocketPath leaves room for the final zero of sockaddr_un's 108 bytes.
func isSocketPath(s string) bool {
	return isCleanAbs(s) && len(s) <= 107
}

func isListen(s string) bool {
	if s == "" {
		return true
	}
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Port() != 0
}
