// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func run(t *testing.T, args ...string) {
	t.Helper()
	if _, err := command(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// A table sleeps only if the ruleset is still the one that was read; what others
// did is reported, in their transactions.
func TestSetDormantAndFollow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlocked: it is in another namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	run(t, `add table inet t { comment "of mine"; }; add chain inet t c { type filter hook input priority 0; }; add set inet t s { type inet_service; flags interval; }`)
	f, err := Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rs, err := ReadKernel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	table := rs.Table(FamilyInet, "t")
	if table == nil || table.Comment != "of mine" || !table.Filters() || table.Handle == 0 || table.Dormant || table.Owned {
		t.Fatalf("table %+v", table)
	}
	dormant := func() bool {
		t.Helper()
		now, err := ListTables(ctx)
		if err != nil || len(now.Tables) != 1 {
			t.Fatalf("%+v, %v", now, err)
		}
		return now.Tables[0].Dormant
	}

	run(t, "add element inet t s { 7-9 }")
	if err := SetDormant(rs.Tables, true, rs.Generation); !errors.Is(err, ErrChanged) || dormant() {
		t.Fatalf("with what was read before: %v", err)
	}
	now, err := f.Generation()
	if err != nil || now != rs.Generation+1 {
		t.Fatalf("generation %d, %v", now, err)
	}
	if err := SetDormant(rs.Tables, true, now); err != nil || !dormant() {
		t.Fatalf("with what is now: %v", err)
	}
	if err := SetDormant(rs.Tables, false, now+1); err != nil || dormant() {
		t.Fatalf("woken: %v", err)
	}

	tx, err := f.Next(ctx)
	if err != nil || tx.Generation != now || len(tx.Tables) != 0 || len(tx.Elements) < 2 || tx.Elements[0].Set != "s" || tx.Elements[0].Deleted {
		t.Fatalf("%+v, %v", tx, err)
	}
	for range 2 {
		if tx, err = f.Next(ctx); err != nil || !tx.Tables[TableName{FamilyInet, "t"}] {
			t.Fatalf("%+v, %v", tx, err)
		}
	}
	// An interrupted wait loses nothing.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if tx, err := f.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%+v, %v", tx, err)
	}
	run(t, "delete element inet t s { 7-9 }")
	if tx, err = f.Next(ctx); err != nil || len(tx.Elements) < 2 || !tx.Elements[1].Deleted {
		t.Fatalf("%+v, %v", tx, err)
	}
}
