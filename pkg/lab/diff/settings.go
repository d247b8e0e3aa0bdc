// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// ctSettings are the settings of connection tracking, the same for both routers.
type ctSettings struct {
	flow.Timeouts
	flow.TCP
}

// settings are those of a run.
func (o Options) settings() ctSettings {
	if o.given != nil {
		return *o.given
	}
	s := ctSettings{timeoutsOf(o.Seed, o.Expiry), flow.DefaultTCP()}
	if !o.Tracking {
		return s
	}
	r := rand.New(rand.NewPCG(o.Seed, 3))
	v := reflect.ValueOf(&s.Timeouts).Elem()
	for i, n := range r.Perm(v.NumField()) {
		if v.Field(i).Int() != int64(shortTimeout) {
			v.Field(i).SetInt(int64(n+1) * int64(timeoutStep))
		}
	}
	s.TCPSynSent = synSent2
	s.Loose, s.BeLiberal = r.IntN(4) > 0, r.IntN(5) == 0
	s.IgnoreInvalidRST, s.MaxRetrans = r.IntN(5) == 0, uint32(1+r.IntN(4))
	return s
}

// timeoutStep is between the timeouts of a run about connection tracking, which are
// all different: a ruleset that asks how long a flow lives sees its state.
const timeoutStep = 1000 * time.Second

// synSent2 is how long a simultaneous open lives in nf_conntrack, which has no setting
// for it; to l2d it is one that begins.
const synSent2 = 2 * time.Minute

// timeoutSysctls are the settings of nf_conntrack by l2d's.
var timeoutSysctls = map[string]string{
	"TCPSynSent": "tcp_timeout_syn_sent", "TCPSynRecv": "tcp_timeout_syn_recv", "TCPEstablished": "tcp_timeout_established",
	"TCPFinWait": "tcp_timeout_fin_wait", "TCPCloseWait": "tcp_timeout_close_wait", "TCPLastAck": "tcp_timeout_last_ack",
	"TCPTimeWait": "tcp_timeout_time_wait", "TCPClose": "tcp_timeout_close",
	"TCPUnacknowledged": "tcp_timeout_unacknowledged", "TCPRetransmitted": "tcp_timeout_max_retrans",
	"UDPUnreplied": "udp_timeout", "UDPStream": "udp_timeout_stream",
	"SCTPClosed":          "sctp_timeout_closed",
	"SCTPCookieWait":      "sctp_timeout_cookie_wait",
	"SCTPCookieEchoed":    "sctp_timeout_cookie_echoed",
	"SCTPEstablished":     "sctp_timeout_established",
	"SCTPShutdownSent":    "sctp_timeout_shutdown_sent",
	"SCTPShutdownRecd":    "sctp_timeout_shutdown_recd",
	"SCTPShutdownAckSent": "sctp_timeout_shutdown_ack_sent",
	"SCTPHeartbeatSent":   "sctp_timeout_heartbeat_sent",
	"ICMP":                "icmp*_timeout",
	// l2d has one for all others.
	"Generic": "g*_timeout*",
}

// timeoutsOf are those of a run.
func timeoutsOf(seed uint64, expiry bool) flow.Timeouts {
	var t flow.Timeouts
	r := rand.New(rand.NewPCG(seed, 2))
	v := reflect.ValueOf(&t).Elem()
	for i := range v.NumField() {
		d := longTimeout
		if expiry && r.IntN(2) == 0 {
			d = shortTimeout
		}
		v.Field(i).SetInt(int64(d))
	}
	return t
}

// set gives them to nf_conntrack in the thread's namespace.
func (s ctSettings) set() error {
	v := reflect.ValueOf(s.Timeouts)
	for i := range v.NumField() {
		if err := setTimeout(timeoutSysctls[v.Type().Field(i).Name], time.Duration(v.Field(i).Int())); err != nil {
			return err
		}
	}
	number := map[bool]int{true: 1}
	for name, n := range map[string]int{
		"loose": number[s.Loose], "be_liberal": number[s.BeLiberal],
		"ignore_invalid_rst": number[s.IgnoreInvalidRST], "max_retrans": int(s.MaxRetrans),
	} {
		if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_"+name, []byte(fmt.Sprint(n)), 0); err != nil {
			return fmt.Errorf("settings of nf_conntrack: %w", err)
		}
	}
	return nil
}

// settingsWord begins the line of a replay file that has the settings.
const settingsWord = "settings"

// line is that line.
func (s ctSettings) line() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers only
	}
	return settingsWord + " " + string(b)
}

// parseSettings reads what follows settingsWord. What is not given is as usual.
func parseSettings(text string) (*ctSettings, error) {
	s := ctSettings{timeoutsOf(0, false), flow.DefaultTCP()}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return &s, nil
}
