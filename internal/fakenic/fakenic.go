// SPDX-License-Identifier: GPL-2.0-only

// Package fakenic is a network interface for tests that has what no virtual one
// does: private flags, FEC, EEE, rings, pause, Wake-on-LAN, and the hash table and rules of
// the 82599. It speaks the kernel's binary interfaces, as the kernel and its
// drivers ixgbe and bnxt do: net/ethtool/{bitset,fec,wol,eee,privflags,ioctl}.c.
package fakenic

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// NIC is an interface by the name of Link.
type NIC struct {
	Link string
	// Fail, if it is set, is asked before each write.
	Fail func() error

	mu    sync.Mutex
	state State
	path  string // of what outlives the process; empty if nothing does
}

// State is what an interface is set to.
type State struct {
	Private map[string]bool
	Wake    map[string]bool
	FEC     []string // the kernel's names
	FECAuto bool
	// EEE, Rings and Pause are by attribute.
	EEE, Rings, Pause map[uint16]uint32
	// Queues are the receive queues, Table and Key of RSS.
	Queues uint32
	Table  []uint32
	Key    []byte
	// TableSet: the table is somebody's, and not the kernel's own.
	TableSet bool
	// NTuple says that the feature is on, without which there are no rules.
	NTuple bool
	Rules  map[uint32]ethioctl.Spec
	// Statistics are those of the driver; without any it does not have the request.
	Statistics []ethioctl.Statistic
}

// New makes an interface as it is after a reset.
func New(link string) *NIC {
	s := State{
		Private: map[string]bool{"legacy-rx": false, "vf-ipsec": false},
		Wake:    map[string]bool{"ucast": false, "mcast": false, "magic": true},
		FECAuto: true, FEC: []string{"RS"},
		EEE:    map[uint16]uint32{eeeEnabled: 1, eeeLPI: 1, eeeTimer: 30},
		Rings:  map[uint16]uint32{ringsRX: 512, ringsTX: 512},
		Pause:  map[uint16]uint32{pauseAutoneg: 1, pauseRX: 0, pauseTX: 0},
		Queues: 8, Table: make([]uint32, 128), Key: make([]byte, 40),
		NTuple: true, Rules: map[uint32]ethioctl.Spec{},
	}
	s.inTurn()
	for i := range s.Key {
		s.Key[i] = byte(i * 7)
	}
	return &NIC{Link: link, state: s}
}

// Draft ends the name of the file beside that of an interface's state which does not count.
const Draft = ".draft"

// Open is [New] of an interface whose state is in a file, and is as it was when a process ends.
func Open(link, path string) (*NIC, error) {
	n := New(link)
	n.path = path
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, n.keep(&n.state)
	}
	if err == nil {
		n.state = State{}
		err = json.Unmarshal(b, &n.state)
	}
	return n, err
}

// keep has a state outlive the process, in one step.
func (n *NIC) keep(s *State) error {
	if n.path == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(n.path+Draft, b, 0o600)
	}
	if err == nil {
		err = os.Rename(n.path+Draft, n.path)
	}
	return err
}

// State returns a copy of what the interface is set to.
func (n *NIC) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

func (s State) clone() State {
	s.Private, s.Wake, s.Rules = maps.Clone(s.Private), maps.Clone(s.Wake), maps.Clone(s.Rules)
	s.EEE, s.Rings, s.Pause = maps.Clone(s.EEE), maps.Clone(s.Rings), maps.Clone(s.Pause)
	s.FEC, s.Table, s.Key = slices.Clone(s.FEC), slices.Clone(s.Table), slices.Clone(s.Key)
	return s
}

// Change changes the state, in one step. What only asks has the state as it is.
func (n *NIC) Change(f func(*State) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.state.clone()
	if err := f(&next); err != nil {
		return err
	}
	if !reflect.DeepEqual(next, n.state) {
		if err := n.keep(&next); err != nil {
			return err
		}
	}
	n.state = next
	return nil
}

func (n *NIC) before() error {
	if n.Fail == nil {
		return nil
	}
	return n.Fail()
}
