// SPDX-License-Identifier: GPL-2.0-only

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"
)

// TestEntries: messages say all of an entry, and fields have names that the journal takes. What the
// journal makes of them is a test of l2d's, with systemd.
func TestEntries(t *testing.T) {
	for _, c := range []struct {
		log     func(*slog.Logger)
		message string
		fields  map[string]string
	}{
		{func(l *slog.Logger) { l.Info("ready") }, "ready", nil},
		{func(l *slog.Logger) { l.Warn("cut off", "after", 3*time.Second) }, "cut off after=3s", map[string]string{"L2D_AFTER": "3s"}},
		{func(l *slog.Logger) { l.Error("refused", "err", errors.New("a b\nc")) }, `refused err="a b\nc"`, map[string]string{"L2D_ERR": "a b\nc"}},
		{func(l *slog.Logger) { l.Info("kept", "programs kept", []string{"a"}) }, `kept "programs kept"=[a]`, map[string]string{"L2D_PROGRAMS_KEPT": "[a]"}},
		{func(l *slog.Logger) { l.With("service", "kea4").Info("well", "priority", 1) }, "well service=kea4 priority=1",
			map[string]string{"L2D_SERVICE": "kea4", "L2D_PRIORITY": "1"}},
		{func(l *slog.Logger) { l.WithGroup("nic").Info("set", "name", "lan0") }, "set nic.name=lan0", map[string]string{"L2D_NIC_NAME": "lan0"}},
		{func(l *slog.Logger) { l.Info("set", slog.Group("want", "mtu", 1500)) }, "set want.mtu=1500", map[string]string{"L2D_WANT": "[mtu=1500]"}},
	} {
		var got bytes.Buffer
		c.log(slog.New(newHandler(slog.NewJSONHandler(&got, nil), slog.LevelInfo)))
		var entry map[string]string
		if err := json.Unmarshal(got.Bytes(), &entry); err != nil {
			t.Fatalf("%v: %s", err, got.Bytes())
		}
		message := entry[slog.MessageKey]
		for _, key := range []string{slog.TimeKey, slog.LevelKey, slog.MessageKey} {
			delete(entry, key)
		}
		if message != c.message || !maps.Equal(entry, c.fields) {
			t.Errorf("%q, %q: want %q, %q", message, entry, c.message, c.fields)
		}
	}
}
