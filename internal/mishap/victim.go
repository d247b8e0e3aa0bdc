// SPDX-License-Identifier: GPL-2.0-only

package mishap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Victim is a process of the test's own program that is killed at a step. JSON tells the
// process what is in it.
type Victim interface {
	// Run is what it does.
	Run() error
}

// victimOf is the environment variable that makes a process one.
const victimOf = "L2D_TEST_VICTIM"

// Main is all of a TestMain: the process that [Die] has begun, with v, or the tests. It does
// not return.
func Main(m interface{ Run() int }, v Victim) {
	text := os.Getenv(victimOf)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := errors.Join(json.Unmarshal([]byte(text), v), v.Run()); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// Die runs a victim, and tells whether it was killed. It is an error to end otherwise than well.
func Die(v Victim) (killed bool, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimOf+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false, nil
	}
	if s := cmd.ProcessState; s != nil && s.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true, nil
	}
	return false, fmt.Errorf("%s: %w: %s", text, err, out)
}
