// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/hostapd"
)

type someRadios []hostapd.Report

func (s someRadios) Stations(context.Context) ([]hostapd.Report, error) { return s, nil }

func TestWiFi(t *testing.T) {
	pending := 4 * time.Millisecond
	c := NewWiFiCollector(someRadios{
		{Interface: "a", State: "ENABLED", Channel: 36, Frequency: 5180, Airtime: &hostapd.Airtime{Active: 10 * time.Second, Busy: 2500 * time.Millisecond, Noise: -92}, Pending: &pending,
			Stations: []hostapd.Client{{MAC: "02:00:00:00:00:01", Name: "phone", Signal: -50, SendRate: 86e6, Received: 7, Retries: 3, Failed: 1,
				ReceiveAirtime: time.Second, SendAirtime: 250 * time.Millisecond, Queue: &hostapd.StationQueue{Backlog: 1500, Marks: 8, Drops: 9}}}},
		{Interface: "b", Error: "gone"},
	}, slog.New(slog.DiscardHandler))
	code, text := scrapeQdiscs(c)
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, want := range []string{
		`l2d_wifi_airtime_seconds_total{interface="a",use="active"} 10`,
		`l2d_wifi_airtime_seconds_total{interface="a",use="busy"} 2.5`,
		`l2d_wifi_airtime_seconds_total{interface="a",use="receive"} 0`,
		`l2d_wifi_airtime_seconds_total{interface="a",use="send"} 0`,
		`l2d_wifi_channel{interface="a"} 36`,
		`l2d_wifi_frequency_hertz{interface="a"} 5.18e+09`,
		`l2d_wifi_noise_dbm{interface="a"} -92`,
		`l2d_wifi_pending_airtime_seconds{interface="a"} 0.004`,
		`l2d_wifi_radio_up{interface="a"} 1`,
		`l2d_wifi_radio_up{interface="b"} 0`,
		`l2d_wifi_station_airtime_seconds_total{direction="receive",interface="a",station="02:00:00:00:00:01"} 1`,
		`l2d_wifi_station_airtime_seconds_total{direction="send",interface="a",station="02:00:00:00:00:01"} 0.25`,
		`l2d_wifi_station_backlog_bytes{interface="a",station="02:00:00:00:00:01"} 1500`,
		`l2d_wifi_station_drops_total{interface="a",station="02:00:00:00:00:01"} 9`,
		`l2d_wifi_station_marks_total{interface="a",station="02:00:00:00:00:01"} 8`,
		`l2d_wifi_station_bytes_total{direction="receive",interface="a",station="02:00:00:00:00:01"} 7`,
		`l2d_wifi_station_bytes_total{direction="send",interface="a",station="02:00:00:00:00:01"} 0`,
		`l2d_wifi_station_failed_total{interface="a",station="02:00:00:00:00:01"} 1`,
		`l2d_wifi_station_info{interface="a",name="phone",station="02:00:00:00:00:01"} 1`,
		`l2d_wifi_station_rate_bits_per_second{direction="receive",interface="a",station="02:00:00:00:00:01"} 0`,
		`l2d_wifi_station_rate_bits_per_second{direction="send",interface="a",station="02:00:00:00:00:01"} 8.6e+07`,
		`l2d_wifi_station_retries_total{interface="a",station="02:00:00:00:00:01"} 3`,
		`l2d_wifi_station_signal_dbm{interface="a",station="02:00:00:00:00:01"} -50`,
		`l2d_wifi_stations{interface="a"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if n := strings.Count(text, "\nl2d_wifi_"); n != 24 {
		t.Errorf("%d series: %s", n, text)
	}
}
