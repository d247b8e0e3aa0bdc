// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/hostapd"
)

// Labels of radios and of stations.
var (
	radioLabels   = []string{"interface"}
	stationLabels = []string{"interface", "station"}
)

var (
	descRadioUp = prometheus.NewDesc("l2d_wifi_radio_up",
		"1 while an access point is on air.", radioLabels, nil)
	descRadioChannel = prometheus.NewDesc("l2d_wifi_channel",
		"The primary channel of a radio.", radioLabels, nil)
	descRadioFrequency = prometheus.NewDesc("l2d_wifi_frequency_hertz",
		"The frequency of the primary channel.", radioLabels, nil)
	descRadioStations = prometheus.NewDesc("l2d_wifi_stations",
		"Stations that are associated.", radioLabels, nil)
	descRadioNoise = prometheus.NewDesc("l2d_wifi_noise_dbm",
		"Noise on the channel, where the driver tells.", radioLabels, nil)
	descRadioAirtime = prometheus.NewDesc("l2d_wifi_airtime_seconds_total",
		"How long a radio was on its channel (active), and of that the channel was busy, and the radio received and sent. It counts from 0 on another channel.", append(radioLabels[:1:1], "use"), nil)
	descStationInfo = prometheus.NewDesc("l2d_wifi_station_info",
		"What a station is called; 1.", append(stationLabels[:2:2], "name"), nil)
	descStationSignal = prometheus.NewDesc("l2d_wifi_station_signal_dbm",
		"Signal of a station.", stationLabels, nil)
	descStationRate = prometheus.NewDesc("l2d_wifi_station_rate_bits_per_second",
		"Rate of the last frame of a station (receive) or to it (send).", append(stationLabels[:2:2], "direction"), nil)
	descStationBytes = prometheus.NewDesc("l2d_wifi_station_bytes_total",
		"Bytes of a station (receive) or to it (send), since it has been associated.", append(stationLabels[:2:2], "direction"), nil)
	descStationRetries = prometheus.NewDesc("l2d_wifi_station_retries_total",
		"Frames to a station that were sent again.", stationLabels, nil)
	descStationAirtime = prometheus.NewDesc("l2d_wifi_station_airtime_seconds_total",
		"How long a radio has received from a station (receive) and sent to it (send).", append(stationLabels[:2:2], "direction"), nil)
	descStationBacklog = prometheus.NewDesc("l2d_wifi_station_backlog_bytes",
		"What waits in the queues that mac80211 has for a station.", stationLabels, nil)
	descStationMarks = prometheus.NewDesc("l2d_wifi_station_marks_total",
		"Packets that these have marked with CE.", stationLabels, nil)
	descStationDrops = prometheus.NewDesc("l2d_wifi_station_drops_total",
		"Packets that these have dropped.", stationLabels, nil)
	descRadioPending = prometheus.NewDesc("l2d_wifi_pending_airtime_seconds",
		"Airtime that what a radio's device has been given still takes, as the airtime queue limits (AQL) know it.", radioLabels, nil)
	descStationFailed = prometheus.NewDesc("l2d_wifi_station_failed_total",
		"Frames to a station that were given up.", stationLabels, nil)
)

// Stations are what is measured of radios: part of api.Service.
type Stations interface {
	Stations(ctx context.Context) ([]hostapd.Report, error)
}

// WiFiCollector asks hostapd and the kernel about radios, for Prometheus.
type WiFiCollector struct {
	source Stations
	log    *slog.Logger
}

// NewWiFiCollector returns a collector.
func NewWiFiCollector(s Stations, log *slog.Logger) *WiFiCollector { return &WiFiCollector{s, log} }

// Describe implements prometheus.Collector.
func (*WiFiCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRadioUp, descRadioChannel, descRadioFrequency, descRadioStations, descRadioNoise, descRadioAirtime, descRadioPending,
		descStationInfo, descStationSignal, descStationRate, descStationBytes, descStationRetries, descStationFailed,
		descStationAirtime, descStationBacklog, descStationMarks, descStationDrops,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *WiFiCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	list, err := c.source.Stations(ctx)
	if err != nil {
		c.log.Error("metrics: radios cannot be asked", "err", err)
		ch <- prometheus.NewInvalidMetric(descRadioUp, err)
		return
	}
	for i := range list {
		collectRadio(ch, &list[i])
	}
}

func collectRadio(ch chan<- prometheus.Metric, r *hostapd.Report) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{r.Interface}, labels...)...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{r.Interface}, labels...)...)
	}
	gauge(descRadioUp, truth(r.State == hostapd.StateEnabled))
	if r.Error != "" {
		return
	}
	gauge(descRadioChannel, float64(r.Channel))
	gauge(descRadioFrequency, float64(r.Frequency)*1e6)
	gauge(descRadioStations, float64(len(r.Stations)))
	if a := r.Airtime; a != nil {
		counter(descRadioAirtime, a.Active.Seconds(), "active")
		counter(descRadioAirtime, a.Busy.Seconds(), "busy")
		counter(descRadioAirtime, a.Receive.Seconds(), "receive")
		counter(descRadioAirtime, a.Send.Seconds(), "send")
		if a.Noise != 0 {
			gauge(descRadioNoise, float64(a.Noise))
		}
	}
	if r.Pending != nil {
		gauge(descRadioPending, r.Pending.Seconds())
	}
	for _, s := range r.Stations {
		if s.Name != "" {
			gauge(descStationInfo, 1, s.MAC, s.Name)
		}
		if s.Signal != 0 {
			gauge(descStationSignal, float64(s.Signal), s.MAC)
		}
		gauge(descStationRate, float64(s.ReceiveRate), s.MAC, "receive")
		gauge(descStationRate, float64(s.SendRate), s.MAC, "send")
		counter(descStationBytes, float64(s.Received), s.MAC, "receive")
		counter(descStationBytes, float64(s.Sent), s.MAC, "send")
		counter(descStationAirtime, s.ReceiveAirtime.Seconds(), s.MAC, "receive")
		counter(descStationAirtime, s.SendAirtime.Seconds(), s.MAC, "send")
		if q := s.Queue; q != nil {
			gauge(descStationBacklog, float64(q.Backlog), s.MAC)
			counter(descStationMarks, float64(q.Marks), s.MAC)
			counter(descStationDrops, float64(q.Drops), s.MAC)
		}
		counter(descStationRetries, float64(s.Retries), s.MAC)
		counter(descStationFailed, float64(s.Failed), s.MAC)
	}
}
