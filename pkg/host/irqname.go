// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Interrupt is one of a device's interrupts that its driver has asked for.
type Interrupt struct {
	Number int
	// Action is what the driver calls it.
	Action string
	// Queue is the queue that it is of, or 0 if it is of none.
	Queue int
}

// queueName is how drivers name the interrupts of queues: eth0-TxRx-3 (igb, ixgbe,
// bnxt), i40e-eth0-TxRx-3, eth0-rx-3 (e1000e), virtio2-input.3, eth0-Tx-Rx-3 (ena),
// mlx5_comp3@pci:..., eth0-rxtx-3 (vmxnet3).
var queueName = regexp.MustCompile(`(?i)(?:^|[-._:@])(?:tx-?rx|rx-?tx|rx|tx|input|output|comp|fp|queue|q)[-._]?(\d+)(?:@.*)?$`)

// Interrupts are those of a network interface's device below a root, by queue; nil if the device has
// none of its own, or its driver has not asked for one. What is no queue's comes first. The drivers
// that give all the same name have one for each queue, in order.
func Interrupts(root, link string) ([]Interrupt, error) {
	numbers, err := vectors(root, link)
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	actions, err := interruptActions(root)
	if err != nil {
		return nil, err
	}
	numbers = append(numbers, companions(root, link, actions)...)
	var out []Interrupt
	named := false
	for _, n := range numbers {
		action, ok := actions[n]
		if !ok {
			continue
		}
		i := Interrupt{Number: n, Action: action}
		if m := queueName.FindStringSubmatch(action); m != nil && action != link {
			i.Queue, _ = strconv.Atoi(m[1])
			named = true
		}
		out = append(out, i)
	}
	if !named {
		for i := range out {
			out[i].Queue = i
		}
	}
	slices.SortStableFunc(out, func(a, b Interrupt) int { return a.Queue - b.Queue })
	return out, nil
}

// elsewhere are interrupts of a driver's devices that are another PCI device's, by the driver:
// mt7915_pci_hif2_probe of mt76/mt7915/pci.c.
var elsewhere = map[string]string{"mt7915e": "mt7915e-hif"}

func companions(root, link string, actions map[int]string) (numbers []int) {
	target, err := os.Readlink(filepath.Join(root, "sys/class/net", link, "device/driver"))
	name := elsewhere[filepath.Base(target)]
	if err != nil || name == "" {
		return nil
	}
	for n, action := range actions {
		if action == name {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// vectors are the numbers of the device's interrupts, in order. A virtio device has
// those of the PCI device it is on.
func vectors(root, link string) ([]int, error) {
	device, err := filepath.EvalSymlinks(filepath.Join(root, "sys/class/net", link, "device"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for range 2 {
		entries, err := os.ReadDir(filepath.Join(device, "msi_irqs"))
		if err == nil {
			var numbers []int
			for _, e := range entries {
				if n, err := strconv.Atoi(e.Name()); err == nil {
					numbers = append(numbers, n)
				}
			}
			slices.Sort(numbers)
			return numbers, nil
		}
		b, err := os.ReadFile(filepath.Join(device, "irq"))
		if n, e := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && e == nil && n > 0 {
			return []int{n}, nil
		}
		device = filepath.Dir(device)
	}
	return nil, nil
}

// interruptActions are the names that drivers have given interrupts, by number: the
// last column of /proc/interrupts.
func interruptActions(root string) (map[int]string, error) {
	f, err := os.Open(filepath.Join(root, "proc/interrupts"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	columns := len(strings.Fields(lines.Text())) // one for each CPU
	out := map[int]string{}
	for lines.Scan() {
		number, rest, ok := strings.Cut(lines.Text(), ":")
		n, err := strconv.Atoi(strings.TrimSpace(number))
		fields := strings.Fields(rest)
		if !ok || err != nil || len(fields) < columns+1 {
			continue
		}
		// The controller and the hardware's number are before the name, which can be
		// missing, or be several of a shared interrupt.
		if last := fields[len(fields)-1]; len(fields) > columns+2 {
			out[n] = last
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("/proc/interrupts: %w", err)
	}
	if len(out) == 0 && columns == 0 {
		return nil, fmt.Errorf("/proc/interrupts: %w", fs.ErrInvalid)
	}
	return out, nil
}
