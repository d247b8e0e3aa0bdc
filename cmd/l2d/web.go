// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
	"github.com/randomizedcoder/l2d/pkg/web"
)

// serveWeb shows the page, if it is to be.
func (d *daemon) serveWeb(ctx context.Context, c *config.Config) error {
	if c.Control.Listen == "" {
		return nil
	}
	token, err := service.Secret(c, c.Control.Token)
	if err != nil {
		return err
	}
	return web.Serve(ctx, c.Control.Listen, token, d, slog.Default())
}

// secretText is where a secret is.
func secretText(s *config.Secret) string {
	if s == nil {
		return ""
	}
	return s.String()
}
