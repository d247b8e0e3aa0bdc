// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser runs Chromium without a screen in a host's namespace, and returns the page
// as it is after some time.
func (h *host) browser(args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Minute)
	defer cancel()
	all := append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
		"--user-data-dir=" + h.path("chromium"), "--virtual-time-budget=12000", "--timeout=60000",
	}, args...)
	cmd := h.command("chromium", all...)
	kill := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer kill()
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// TestPage has a real browser show the page. L2D_SCREENSHOTS names a directory for
// what it looked like.
func TestPage(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("chromium is not there: apt-get install chromium; it is too large to be installed for this test alone")
	}
	h := newHost(t)
	const token = "a-token-of-the-tests"
	if err := os.WriteFile(h.path("token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write("l2d.yaml", strings.Replace(h.config(), "control: {", "control: {listen: '127.0.0.1:9466', token: "+h.path("token")+", ", 1))
	h.ip("link", "set", "lo", "up")
	h.start()
	h.expect("READY=1")
	ping := h.command("ping", "-q", "-i", "0.05", "-s", "1000", "192.0.2.2") // nobody answers
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = ping.Process.Kill()
		_ = ping.Wait()
	}()
	const page = "http://127.0.0.1:9466/"
	if dom := h.browser("--dump-dom", page); !strings.Contains(dom, `id="page" hidden`) || strings.Contains(dom, "wan0") {
		t.Errorf("a stranger sees\n%s", dom)
	}
	dom := h.browser("--dump-dom", page+"#token="+token)
	for _, want := range []string{"wan0", "192.0.2.1", "Drops by reason", "Throughput, all interfaces", `id="login" hidden`} {
		if !strings.Contains(dom, want) {
			t.Errorf("no %q in\n%s", want, dom)
		}
	}
	// A link names a tab: the rules with their hits, and flows that are searched.
	for fragment, want := range map[string][]string{
		"&tab=rules":              {`id="now" hidden`, `class="rule"`, "filter input"},
		"&tab=rules&q=nosuch":     {`id="now" hidden`, "nothing"},
		"&tab=flows&q=192.0.2.1":  {`id="now" hidden`, "1 flows", "192.0.2.2:8", "unreplied"},
		"&tab=flows&q=10.0.0.0/8": {"0 flows"},
		"&tab=flows&q=x/y":        {`id="found">`, "x/y"},
	} {
		dom := h.browser("--dump-dom", page+"#token="+token+fragment)
		for _, text := range want {
			if !strings.Contains(dom, text) {
				t.Errorf("%s: no %q in\n%s", fragment, text, dom)
			}
		}
	}
	dir := os.Getenv("L2D_SCREENSHOTS")
	if dir == "" {
		return
	}
	for name, args := range map[string][]string{
		"desktop": {"--window-size=1280,1000"}, "phone": {"--window-size=500,1000"},
		"rules": {"--window-size=1280,700"}, "flows": {"--window-size=500,700"},
		"dark": {"--window-size=1280,1000", "--blink-settings=preferredColorScheme=0"}, "login": {"--window-size=600,500"},
	} {
		url := page + "#token=" + token
		switch name {
		case "login":
			url = page
		case "rules", "flows":
			url += "&tab=" + name
		}
		h.browser(append(args, "--hide-scrollbars", "--screenshot="+filepath.Join(dir, name+".png"), url)...)
	}
}
