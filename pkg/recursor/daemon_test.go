// SPDX-License-Identifier: GPL-2.0-only

package recursor_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/recursor"
	"github.com/randomizedcoder/l2d/pkg/service"
)

func TestMain(m *testing.M) { ownns.Main(m) }

// lan is a router with a recursor, and a neighbour that has zones and asks.
type lan struct {
	*servicetest.Host
	t       *testing.T
	command func(...string) []string
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	servicetest.Need(t, "pdns_recursor", "rec_control", "dig")
	l := &lan{t: t, command: servicetest.Neighbour(t, "recursor", "br0", "eth0")}
	servicetest.Run(t, "ip", "addr", "add", "192.168.1.1/24", "dev", "br0")
	servicetest.Run(t, l.command("ip", "addr", "add", "192.168.1.53/24", "dev", "eth0")...)
	servicetest.Run(t, l.command("ip", "addr", "add", "10.9.9.9/32", "dev", "eth0")...)
	servicetest.Run(t, "ip", "route", "add", "10.9.9.9/32", "via", "192.168.1.53")
	l.Host = servicetest.NewHost(t, recursor.New())
	return l
}

const head = `
network: {lan: {interface: br0, addresses: [192.168.1.1/24]}}
services:
  recursor:
    mode: child
`

// Zones that the neighbour signs.
var zones = []string{"lab.test", "bogus.test", "more.test"}

const zoneFile = `$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.168.1.53
www A 192.0.2.1
`

const knotConf = `
server:
    rundir: %[1]s
    listen: 192.168.1.53@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[1]s
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: %[1]s
    dnssec-signing: on
zone:
`

// serve runs an authoritative server, and returns the DS records of its zones.
func (l *lan) serve() map[string]string {
	l.t.Helper()
	servicetest.Need(l.t, "knotd", "keymgr")
	dir := servicetest.Dir(l.t)
	conf := filepath.Join(dir, "knot.conf")
	text := fmt.Sprintf(knotConf, dir)
	for _, z := range zones {
		text += fmt.Sprintf("  - domain: %s\n    file: %s.zone\n", z, z)
		if err := os.WriteFile(filepath.Join(dir, z+".zone"), []byte(zoneFile), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	argv := l.command("knotd", "-c", conf)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = l.t.Output()
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill() // may have ended
		_ = cmd.Wait()
	})
	ds := map[string]string{}
	for _, z := range zones {
		servicetest.Eventually(l.t, func() error {
			if out := l.dig("192.168.1.53", "www."+z, "A", "+dnssec"); !strings.Contains(out, "RRSIG") {
				return fmt.Errorf("not signed: %s", out)
			}
			return nil
		})
		for line := range strings.Lines(servicetest.Run(l.t, "keymgr", "-c", conf, z, "ds")) {
			if _, rest, ok := strings.Cut(line, " DS "); ok && strings.Contains(rest, " 2 ") {
				ds[z] = strings.TrimSpace(rest)
			}
		}
	}
	return ds
}

// dig asks from the neighbour's place, once.
func (l *lan) dig(server string, args ...string) string {
	argv := l.command(append([]string{"dig", "+time=10", "+tries=1", "@" + server}, args...)...)
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() // what it says is looked at
	return string(out)
}

// answers wants a status, and texts, in what the recursor answers.
func (l *lan) answers(name, status string, want ...string) {
	l.t.Helper()
	servicetest.Eventually(l.t, func() error {
		out := l.dig("192.168.1.1", name, "A", "+dnssec")
		for _, w := range append(want, "status: "+status) {
			if !strings.Contains(out, w) {
				return fmt.Errorf("%s: no %q in %s", name, w, out)
			}
		}
		return nil
	})
}

// declare has the recursor ask the neighbour for zones, whose keys it knows.
func declare(ds map[string]string, known ...string) string {
	text := head + "    forward:\n"
	for _, z := range known {
		text += fmt.Sprintf("      %s: [192.168.1.53]\n", z)
	}
	text += "    trust_anchors:\n"
	for _, z := range known {
		text += fmt.Sprintf("      %s: ['%s']\n", z, ds[z])
	}
	return text
}

// TestResolves: names come from the authoritative server, validated; those whose signatures are not by the key that
// is trusted do not. Zones are added without a restart, and it comes back when it is killed.
func TestResolves(t *testing.T) {
	l := newLAN(t)
	ds := l.serve()
	ds["bogus.test"] = ds["lab.test"]
	l.Must(declare(ds, "lab.test", "bogus.test"))
	l.answers("www.lab.test", "NOERROR", "192.0.2.1", " ad;")
	l.answers("nobody.lab.test", "NXDOMAIN", " ad;")
	l.answers("www.bogus.test", "SERVFAIL")
	l.answers("7.1.168.192.in-addr.arpa", "NXDOMAIN") // private: it asks nobody
	if out := l.dig("192.168.1.1", "-b", "10.9.9.9", "+time=2", "www.lab.test"); !strings.Contains(out, "timed out") && !strings.Contains(out, "no servers could be reached") {
		t.Errorf("a stranger is answered: %s", out)
	}

	s := l.Status("recursor")
	if s.Error != "" || s.Version == "" {
		t.Errorf("status: %+v", s)
	}
	l.quiet()
	c := recursor.NewControl(&config.Service{}, filepath.Join(l.Run, "recursor", "run"))
	top, err := c.Top(t.Context(), "queries")
	if err != nil || len(top) == 0 || top[0].Name == "" || top[0].Type != "A" {
		t.Errorf("top queries: %+v %v", top, err)
	}
	for _, what := range recursor.Tops {
		if _, err := c.Top(t.Context(), what); err != nil {
			t.Errorf("top %s: %v", what, err)
		}
	}
	stats, err := c.Statistics(t.Context())
	if err != nil || stats["questions"] < 4 || stats["dnssec-result-bogus"] == 0 {
		t.Errorf("statistics: %v %v", stats, err)
	}
	if out, err := c.Flush(t.Context(), "www.lab.test"); err != nil || !strings.HasPrefix(out, "wiped ") || strings.HasPrefix(out, "wiped 0 records, 0 negative records, 0 packets") {
		t.Errorf("flush: %s %v", out, err)
	}
	if out, err := c.Flush(t.Context(), "."); err != nil || !strings.HasPrefix(out, "wiped ") {
		t.Errorf("flush of all: %s %v", out, err)
	}

	l.Must(declare(ds, zones...))
	l.answers("www.more.test", "NOERROR", "192.0.2.1", " ad;")
	if after := l.Status("recursor"); after.PID != s.PID {
		t.Errorf("started again for a zone: %+v, before %+v", after, s)
	}

	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.answers("www.lab.test", "NOERROR", "192.0.2.1", " ad;")
	servicetest.Eventually(t, func() error {
		if after := l.Status("recursor"); after.Error != "" || after.PID == s.PID || after.Restarts == 0 {
			return fmt.Errorf("after SIGKILL: %+v", after)
		}
		return nil
	})
}

// quiet wants a log that has what the recursor does, and not who has asked it how it is.
func (l *lan) quiet() {
	l.t.Helper()
	lines, err := l.Manager.Logs(l.t.Context(), "recursor", 1000)
	text := strings.Join(lines, "\n")
	if err != nil || !strings.Contains(text, "Launching worker threads") || strings.Contains(text, "rec_control") {
		l.t.Errorf("the log: %v\n%s", err, text)
	}
}

// TestDelegated: clients are answered from addresses that the provider has delegated, without an apply, and another process:
// it has what it has learnt, also with a web server.
func TestDelegated(t *testing.T) {
	l := newLAN(t)
	secret := filepath.Join(l.Dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret/key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"ip", "addr", "add", "fd00::1/64", "dev", "br0", "nodad"},
		l.command("ip", "addr", "add", "2001:db8:1::53/64", "dev", "eth0", "nodad"),
		l.command("ip", "route", "add", "fd00::/64", "dev", "eth0"),
		{"ip", "route", "add", "2001:db8:1::53", "dev", "br0"},
	} {
		servicetest.Run(t, args...)
	}
	text := `
network: {lan: {interface: br0, addresses: [192.168.1.1/24, "fd00::1/64"]}}
services:
  radvd: {delegated: true}
  recursor:
    mode: child
    api: {key: ` + secret + `}
`
	const private = "7.1.168.192.in-addr.arpa" // it asks nobody about that
	l.Must(text)
	before := l.Status("recursor")
	if out := l.dig("fd00::1", "-b", "2001:db8:1::53", "+time=2", private); strings.Contains(out, "NXDOMAIN") {
		t.Errorf("a stranger is answered: %s", out)
	}
	servicetest.Run(t, "ip", "addr", "add", "2001:db8:1::1/64", "dev", "br0", "nodad")
	if left := l.Drift(text); len(left) != 0 {
		t.Fatalf("%+v", left)
	}
	servicetest.Eventually(t, func() error {
		if out := l.dig("fd00::1", "-b", "2001:db8:1::53", private); !strings.Contains(out, "NXDOMAIN") {
			return fmt.Errorf("a client is not answered: %s", out)
		}
		return nil
	})
	if after := l.Status("recursor"); after.PID != before.PID {
		t.Errorf("started again: %+v, before %+v", after, before)
	}
}

// TestAPI: the web server wants the key, which is in files of its own user alone.
func TestAPI(t *testing.T) {
	l := newLAN(t)
	secret := filepath.Join(l.Dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret/key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Must(head + "    api: {key: " + secret + "}\n")
	for name := range map[string]bool{"recursor.conf": true, "recursor.yml": true} {
		path := filepath.Join(l.Run, "recursor", name)
		b, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err != nil || err2 != nil || info.Mode().Perm() != 0o400 || !strings.Contains(string(b), "s3cret/key") {
			t.Errorf("%s: %v %v %v", name, info, err, err2)
		}
	}
	get := func(key string) (int, error) {
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:8082/api/v1/servers/localhost", nil)
		if err != nil {
			return 0, err
		}
		r.Header.Set("X-API-Key", key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	for key, want := range map[string]int{"s3cret/key": http.StatusOK, "another": http.StatusUnauthorized} {
		servicetest.Eventually(t, func() error {
			if status, err := get(key); err != nil || status != want {
				return fmt.Errorf("with the key %s: %d %v", key, status, err)
			}
			return nil
		})
	}
	if err := os.WriteFile(secret, []byte("a=b\x22 and more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(head + "    api: {key: " + secret + "}\n"); err == nil || strings.Contains(err.Error(), "and more") || !strings.Contains(err.Error(), "is no key") {
		t.Errorf("a key that is none: %v", err)
	}
}

// TestWatchedByAPI: one that somebody else runs is asked by its web server, where nothing is known of its control socket.
func TestWatchedByAPI(t *testing.T) {
	l := newLAN(t)
	secret := filepath.Join(l.Dir, "secret")
	write := func(text string) {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret/key\n")
	api := "    api: {key: " + secret + "}\n"
	l.Must(head + api)
	watched := func() *service.Unit {
		t.Helper()
		c, err := config.Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: br0}]}\n"+strings.Replace(head, "child", "watch", 1)+api))
		if err != nil {
			t.Fatal(err)
		}
		list, err := recursor.New().Units(c, service.Dirs{Run: l.Dir + "/other"})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0]
	}
	u := watched()
	servicetest.Eventually(t, func() error {
		h, err := recursor.New().Health(t.Context(), u, service.Process{})
		if err != nil || h.Version == "" || !strings.HasPrefix(h.Detail, "0 questions, ") {
			return fmt.Errorf("%+v %w", h, err)
		}
		return nil
	})
	servicetest.Run(t, "dig", "+short", "@192.168.1.1", "localhost")
	c, err := recursor.ClientOf(u)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := c.Statistics(t.Context())
	own, err2 := recursor.NewControl(&u.Service, filepath.Join(l.Run, "recursor", "run")).Statistics(t.Context())
	if err != nil || err2 != nil || stats["questions"] != 1 || own["questions"] != 1 || stats["cache-entries"] != own["cache-entries"] {
		t.Errorf("%d questions by the web server, %d by the control socket; %v, %v", stats["questions"], own["questions"], err, err2)
	}
	if text, err := c.Flush(t.Context(), "."); err != nil || !strings.HasPrefix(text, "wiped ") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := c.Top(t.Context(), "queries"); err == nil || !strings.Contains(err.Error(), "control_dir") {
		t.Errorf("a list that it does not have: %v", err)
	}
	write("another/key\n")
	if _, err := recursor.New().Health(t.Context(), watched(), service.Process{}); err == nil || !strings.Contains(err.Error(), "refuses the key") || strings.Contains(err.Error(), "another/key") {
		t.Errorf("another key: %v", err)
	}
	l.Must("")
	if _, err := recursor.New().Health(t.Context(), u, service.Process{}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody is there: %v", err)
	}
}

// TestPortTaken: it cannot start, which is said in its words.
func TestPortTaken(t *testing.T) {
	l := newLAN(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 168, 1, 1), Port: 53})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Apply(head)
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("port 53 is taken: %v", err)
	}
	if list := l.Manager.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("not undone: %+v", list)
	}
	conn.Close()
	l.Must(head)
}

// TestHangs: one that does not answer is an error, and the one of before runs afterwards.
func TestHangs(t *testing.T) {
	l := newLAN(t)
	l.Must(head)
	before := l.Status("recursor")
	if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(head + "    forward: {lab.test: [192.168.1.53]}\n"); err == nil {
		t.Error("one that is stopped is taken for reloaded")
	}
	servicetest.Eventually(t, func() error {
		if s := l.Status("recursor"); s.Error != "" || time.Since(s.Started) > time.Minute {
			return fmt.Errorf("after the rollback: %+v", s)
		}
		return nil
	})
	b, err := os.ReadFile(filepath.Join(l.Run, "recursor", "recursor.yml"))
	if err != nil || strings.Contains(string(b), "lab.test") {
		t.Errorf("the files are not those of before: %v", err)
	}
}

// TestFaults: programs that cannot run in the place of the recursor.
func TestFaults(t *testing.T) {
	l := newLAN(t)
	l.Faults("recursor", servicetest.Program(t, "pdns_recursor"), "--config=check", func(program string) string {
		return head + "    binary: " + program + "\n"
	})
}

// TestDiskFull: files that do not fit are an error, and nothing is left of them.
func TestDiskFull(t *testing.T) {
	l := newLAN(t)
	room := servicetest.FullDisk(t, l.Run)
	if err := l.Apply(head); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a disk that is full: %v", err)
	}
	if list := l.Manager.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("not undone: %+v", list)
	}
	room()
	l.Must(head)
}
