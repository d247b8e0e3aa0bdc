// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon]: a unit for each radio.
type Daemon struct{}

// New returns the daemon.
func New() *Daemon { return &Daemon{} }

// Name implements [service.Daemon].
func (*Daemon) Name() string { return "hostapd" }

// Parameters of a unit.
const (
	interfaceParam = "interface"
	controlParam   = "control" // the directory of the control interface
	ownParam       = "own"     // that of l2d's sockets
	bandParam      = "band"
	channelParam   = "channel"
	widthParam     = "width"
	countryParam   = "country"
	standardsParam = "standards"
)

// Units implements [service.Daemon].
func (d *Daemon) Units(c *config.Config, dirs service.Dirs) (out []*service.Unit, err error) {
	h := c.Services.Hostapd
	if h == nil {
		return nil, nil
	}
	var errs []error
	for i := range h.Radios {
		r := &h.Radios[i]
		u, err := d.unit(c, h, r, dirs)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, u)
	}
	return out, errors.Join(errs...)
}

// unitName is the name of a radio's unit.
func unitName(r *config.Radio) string { return "hostapd-" + r.Interface }

func (d *Daemon) unit(c *config.Config, h *config.Hostapd, r *config.Radio, dirs service.Dirs) (*service.Unit, error) {
	name, at := unitName(r), endpoint(h, r, dirs)
	dir := dirs.Of(name)
	u := &service.Unit{
		Name: name, Daemon: d.Name(), Mode: h.Mode, Service: h.Service,
		Params: map[string]string{interfaceParam: r.Interface, controlParam: at.Control, ownParam: at.Own},
	}
	if h.Mode == config.ModeWatch {
		return u, nil
	}
	if problem, want := channelOf(r).Problem(); problem != "" {
		e := r.At(c.Path)
		e.Key, e.Value, e.Problem, e.Want = e.Key+".channel", fmt.Sprintf("%d with %d MHz", r.Channel, r.Width), problem, want
		return nil, e
	}
	pass, err := passphrase(c, r)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "hostapd.conf")
	u.Files = []service.File{{Path: file, Content: render(h, r, at.Control, pass), Mode: 0o600, Secrets: []string{pass}}}
	u.Argv = []string{service.Program(&h.Service, "hostapd"), file}
	u.Caps = []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}
	u.Dirs = []service.Dir{{Path: dir, Mode: 0o755}}
	u.Sandbox = service.Sandbox{
		Families: []string{"AF_NETLINK", "AF_PACKET", "AF_UNIX", "AF_INET", "AF_INET6"}, Devices: []string{"/dev/rfkill"}, IOClass: h.IOClass,
	}
	u.Params[countryParam] = h.Country
	u.Patience = patience(channelOf(r))
	u.Params[bandParam], u.Params[channelParam], u.Params[widthParam] = r.Band, strconv.Itoa(int(r.Channel)), strconv.Itoa(int(r.Width))
	u.Params[standardsParam] = strings.Join(standards(r), " ")
	return u, nil
}

// patience is how long it may take until a radio is on air: it looks for others, and for radar if the channel
// may have some. Where weather radar is, that takes ten minutes: EN 301 893.
func patience(c Channel) time.Duration {
	switch first, last := c.Center()-c.Width/10+2, c.Center()+c.Width/10-2; {
	case !c.Radar():
		return 30 * time.Second
	case first <= 128 && last >= 120:
		return 11 * time.Minute
	}
	return 90 * time.Second
}

// passphrase reads that of a radio.
func passphrase(c *config.Config, r *config.Radio) (string, error) {
	pass, err := service.Secret(c, r.Passphrase)
	if err != nil {
		return "", err
	}
	fail := func(problem, want string) (string, error) {
		e := r.Passphrase.At(c.Path)
		e.Value, e.Problem, e.Want = r.Passphrase.String(), problem, want
		return "", e
	}
	switch {
	// The bounds of PSK, which stations apply to SAE as well.
	case len(pass) < 8 || len(pass) > 63:
		return fail(fmt.Sprintf("the passphrase has %d bytes", len(pass)), "8 to 63")
	case strings.ContainsFunc(pass, func(r rune) bool { return r < ' ' || r > '~' }):
		return fail("the passphrase has other characters than ASCII's, which devices write in different ways", "letters, digits, signs and spaces")
	case strings.Contains(pass, "|"): // hostapd has options behind it
		return fail("the passphrase has a |, which hostapd takes for an option", "another one")
	}
	return pass, nil
}

// channelOf is the channel of a radio.
func channelOf(r *config.Radio) Channel {
	return Channel{Band: r.Band, Number: int(r.Channel), Width: int(r.Width)}
}

// standards are words of a command that moves the radio.
func standards(r *config.Radio) []string {
	var out []string
	if r.Band != Band6 {
		out = append(out, "ht")
	}
	if r.Band == Band5 && r.Standard != "n" {
		out = append(out, "vht")
	}
	if r.Standard == "ax" {
		out = append(out, "he")
	}
	return out
}

// Check implements [service.Daemon].
func (*Daemon) Check(ctx context.Context, u *service.Unit, staged string) error {
	if err := checkRadio(u); err != nil {
		return err
	}
	return checkFile(ctx, u.Argv[0], service.At(staged, u.Files[0].Path))
}

// checkFile has hostapd read a file, by its own parser. It has no switch for that, but a driver
// without a radio: what it begins with then it has read without an error.
func checkFile(ctx context.Context, program, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	check := path + ".check"
	if err := os.WriteFile(check, []byte(withoutRadio(string(text))), 0o600); err != nil {
		return err
	}
	defer os.Remove(check)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, check)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		_ = w.Close()
	}()
	var said []string
	accepted := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if !accepted && strings.Contains(line, "interface state UNINITIALIZED->") {
			accepted = true
			cancel()
		}
		said = append(said, strings.ReplaceAll(line, check, path))
	}
	err = <-ended
	switch {
	case accepted:
		return nil
	case len(said) > 0:
		return errors.New(strings.Join(said, "\n"))
	}
	return fmt.Errorf("%s: %w", program, err)
}

// withoutRadio is a file for the driver that has none: line by line, as errors have the line's number.
func withoutRadio(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		key, _, _ := strings.Cut(line, "=")
		switch key {
		case "interface":
			lines[i] = "interface=lo"
		case "driver":
			lines[i] = "driver=none"
		case "bridge", "ctrl_interface":
			lines[i] = "#"
		}
	}
	return strings.Join(lines, "\n")
}

// Effect implements [service.Daemon].
func (*Daemon) Effect(old, u *service.Unit) service.Effect {
	restart := func(why string) service.Effect {
		return service.Effect{Action: service.Restart, Disruptive: true, Why: why}
	}
	if old == nil || len(old.Files) == 0 || len(u.Files) == 0 {
		return restart("its stations drop, and come back")
	}
	changed := differences(string(old.Files[0].Content), string(u.Files[0].Content))
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(changed, k) })
	}
	rest := slices.DeleteFunc(slices.Clone(changed), func(k string) bool { return inPlace(k) || movesAlong(k) })
	moves := slices.ContainsFunc(changed, movesAlong)
	switch to := unitChannel(u); {
	case has("ssid"):
		return restart("its stations drop: the network has another name")
	case has("sae_password", "wpa_passphrase"):
		return restart("its stations drop, and need the new passphrase")
	case len(rest) > 0:
		return restart("its stations drop, and come back: " + strings.Join(rest, ", ") + " cannot change in place")
	case moves && (to.Band != old.Params[bandParam] || u.Params[widthParam] != old.Params[widthParam]):
		return restart("its stations drop, and come back: the radio changes its band or width")
	case moves && to.Radar():
		return restart("its stations drop: the radio listens for radar on the new channel, for a minute or longer, before it sends")
	case moves:
		return service.Effect{Action: service.Reload, Why: fmt.Sprintf("its stations move along to channel %d", to.Number)}
	}
	return service.Effect{Action: service.Reload}
}

// inPlace tells keys of the file that hostapd takes while it runs.
func inPlace(key string) bool { return key == "max_num_sta" || strings.HasPrefix(key, "wmm_ac_") }

// movesAlong tells keys that follow from the channel.
func movesAlong(key string) bool {
	switch key {
	case "channel", "secondary", "vht_oper_centr_freq_seg0_idx", "he_oper_centr_freq_seg0_idx":
		return true
	}
	return false
}

// differences are the keys that two files have different values of. Which half of 40 MHz is
// the primary one is a capability in the file, and here the key secondary.
func differences(a, b string) (out []string) {
	one, two := values(a), values(b)
	for _, m := range []map[string]string{one, two} {
		for key := range m {
			if one[key] != two[key] && !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	slices.Sort(out)
	return out
}

func values(text string) map[string]string {
	out := map[string]string{}
	fields(text, func(key, value string) {
		if key == "ht_capab" {
			for _, side := range []string{"[HT40+]", "[HT40-]"} {
				if strings.Contains(value, side) {
					out["secondary"] = side
					value = strings.ReplaceAll(value, side, "[HT40]")
				}
			}
		}
		out[key] = value
	})
	return out
}

// unitChannel is the channel of a unit.
func unitChannel(u *service.Unit) Channel {
	return Channel{Band: u.Params[bandParam], Number: small(u.Params[channelParam]), Width: small(u.Params[widthParam])}
}

// Reload implements [service.Daemon]: what is there is changed in place, as [Daemon.Effect] has said that
// nothing else is.
func (*Daemon) Reload(ctx context.Context, u *service.Unit, _ func(string) error) error {
	c := OfUnit(u)
	defer func() { _ = c.Close() }()
	var err error
	fields(string(u.Files[0].Content), func(key, value string) {
		if err == nil && inPlace(key) {
			err = c.Set(ctx, key, value)
		}
	})
	if err == nil {
		err = c.UpdateBeacon(ctx)
	}
	if err != nil {
		return err
	}
	s, err := c.Status(ctx)
	to := unitChannel(u)
	if err != nil || s.on(to) {
		return err
	}
	return c.SwitchChannel(ctx, to, strings.Fields(u.Params[standardsParam])...)
}

// OfUnit is the control interface of a unit.
func OfUnit(u *service.Unit) *Control {
	return Dial(u.Params[controlParam], u.Params[interfaceParam], u.Params[ownParam])
}

// Health implements [service.Daemon].
func (*Daemon) Health(ctx context.Context, u *service.Unit, _ service.Process) (service.Health, error) {
	c := OfUnit(u)
	defer func() { _ = c.Close() }()
	s, err := c.Status(ctx)
	if err != nil {
		return service.Health{}, err
	}
	if s.State != StateEnabled {
		return service.Health{}, fmt.Errorf("%s is not on air: hostapd is in the state %s", u.Params[interfaceParam], s.State)
	}
	if to := unitChannel(u); to.Number != 0 && !s.on(to) {
		return service.Health{}, fmt.Errorf("%s is on channel %d, and not on %d", u.Params[interfaceParam], s.Channel, to.Number)
	}
	return service.Health{Detail: fmt.Sprintf("%s is on channel %d, stations: %d", u.Params[interfaceParam], s.Channel, s.Stations)}, nil
}

// aftermath are words of the lines that hostapd writes whenever it cannot go on, after those that say why.
var aftermath = []string{
	"interface state ", "AP-DISABLED", "CTRL-EVENT-TERMINATING", "hostapd_free_hapd_data: ", "nl80211: deinit ", "Unable to setup interface", "interface initialization failed",
}

// Why implements [service.Explainer].
func (*Daemon) Why(_ *service.Unit, lines []string) string {
	const enough = 3
	var said []string
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		switch {
		case slices.ContainsFunc(aftermath, func(s string) bool { return strings.Contains(line, s) }):
			continue
		case len(said) == enough || slices.Contains(said, line): // of the process before
			slices.Reverse(said)
			return strings.Join(said, "; ")
		}
		said = append(said, line)
	}
	slices.Reverse(said)
	return strings.Join(said, "; ")
}
