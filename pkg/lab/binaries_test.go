// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builtIn is the directory of the binaries, if a test has needed them.
var builtIn string

// built builds the binaries.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "l2d-lab-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	cmd := exec.Command("go", "build", "-o", dir+"/", "../../cmd/l2d", "../../cmd/l2ctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

// program returns the path of a binary of this module.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func removeBinaries() {
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
}
