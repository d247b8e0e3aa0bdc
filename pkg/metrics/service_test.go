// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/service"
)

type someServices []service.Status

func (s someServices) Services(context.Context) ([]service.Status, error) { return s, nil }

func TestServices(t *testing.T) {
	c := NewServiceCollector(someServices{
		{Name: "radvd", Mode: "systemd", Process: service.Process{Running: true, PID: 7, Started: time.Unix(1500, 5e8), Restarts: 3}},
		{Name: "kea-dhcp4", Mode: "child", Error: "does not run"},
		{Name: "llama-a", Mode: "watch"},
	}, slog.New(slog.DiscardHandler))
	code, text := scrapeQdiscs(c)
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, want := range []string{
		`l2d_service_restarts_total{service="kea-dhcp4"} 0`, `l2d_service_restarts_total{service="radvd"} 3`,
		`l2d_service_running{service="kea-dhcp4"} 0`, `l2d_service_running{service="radvd"} 1`,
		`l2d_service_start_time_seconds{service="radvd"} 1500.5`,
		`l2d_service_up{service="kea-dhcp4"} 0`, `l2d_service_up{service="llama-a"} 1`, `l2d_service_up{service="radvd"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if n := strings.Count(text, "\nl2d_service_"); n != 8 {
		t.Errorf("%d series, want 8: %s", n, text)
	}
}
