// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/metrics"
)

// shutdownTime is what requests get to finish when the daemon ends.
const shutdownTime = 3 * time.Second

// run is the daemon's life: it returns when ctx ends, or when it cannot start.
func run(ctx context.Context, opt options) error {
	cfg, err := loadConfig(ctx, opt.Config)
	if err != nil {
		return input(err)
	}
	var level slog.LevelVar
	setupLog(cfg.Log, &level)
	if err := enforce.CheckHost(); err != nil {
		return input(err)
	}
	if err := enforce.EnsureBPFFS(cfg.Dataplane.PinPath); err != nil {
		return input(err)
	}
	// The socket keeps a second daemon away, and the state directory one that has another socket.
	sock, err := api.Listen(cfg.Control.Socket)
	if err != nil {
		return err
	}
	lock, err := lockState(cfg.Host.StateDir)
	if err != nil {
		return errors.Join(err, sock.Close())
	}
	defer lock.Close()
	d := newDaemon(cfg, &level)
	if err := d.host.engine.Recover(ctx); err != nil {
		slog.Error("an earlier change is not undone", "err", err)
	}
	if err := d.choose(ctx); err != nil {
		return errors.Join(input(err), sock.Close())
	}
	cfg = d.plan.Config
	d.startHost(ctx)
	if err := d.start(ctx); err != nil {
		return errors.Join(err, sock.Close())
	}
	defer d.close()
	defer d.services.Close()
	go d.startServices(ctx)
	go d.followStations(ctx)

	srv := api.Server(d, slog.Default())
	go func() {
		if err := srv.Serve(sock); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("control socket failed", "err", err)
		}
	}()
	defer func() {
		d.flows.Close() // those who listen do not end by themselves
		d.stations.Close()
		d.end()
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			slog.Warn("requests are cut off", "after", shutdownTime)
			srv.Close()
		}
	}()
	if cfg.Metrics.Listen != "" {
		if err := metrics.Serve(ctx, cfg.Metrics.Listen, d, metrics.Options{
			Rules: cfg.Metrics.Rules, Collectors: []prometheus.Collector{
				metrics.NewServiceCollector(d, slog.Default()), metrics.NewBBR3Collector(hostkinds.BBR3, slog.Default()),
				metrics.NewWiFiCollector(d, slog.Default()),
				metrics.NewClientCollector(d),
			},
		}, slog.Default()); err != nil {
			return err
		}
	}

	if err := d.serveWeb(ctx, cfg); err != nil {
		return err
	}

	go d.followLinks(ctx)
	go d.followAddresses(ctx)
	if enforce.Follows(cfg) {
		go d.followRuleset(ctx)
	}
	go d.followEvents(ctx)
	go d.followFlows(ctx)
	go d.purgeSets(ctx)
	go d.followClock(ctx)
	go d.followHost(ctx)
	go d.forgetTalkers(ctx)
	notifyReady()
	slog.Info("ready", "version", version, "socket", cfg.Control.Socket)
	d.wait(ctx)
	notifyStopping()
	switch _, dp := d.state(); {
	case dp == nil:
		slog.Info("ending, detached already")
		return nil
	case !opt.DetachOnExit:
		slog.Info("ending, the dataplane stays attached")
		return nil
	}
	_, err = d.Detach(context.Background(), true)
	return err
}

// lockState keeps others from a state directory, as long as what it returns is open. It is made, for root alone; where that
// cannot be, as on a disk that is read-only, a daemon begins all the same.
func lockState(dir string) (*os.File, error) {
	err := os.MkdirAll(dir, 0o700)
	var f *os.File
	if err == nil {
		f, err = os.Open(dir)
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("state directory: another daemon works with %s: want that one ended, or another host.state_dir and dataplane.pin_path", dir), f.Close())
	}
	if err != nil {
		slog.Warn("nothing keeps another daemon from the state directory", "err", err)
	}
	return f, nil
}

// wait serves SIGHUP and the watchdog until ctx ends.
func (d *daemon) wait(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	defer signal.Stop(hup)
	alive, stop := watchdog()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			notifyReloading()
			// Reload has logged the error.
			_, _ = d.Reload(ctx)
			notifyReady()
		case <-alive:
			if d.healthy() {
				notifyAlive()
			}
		}
	}
}
