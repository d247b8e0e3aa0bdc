// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tree makes a root directory of files by path. A text that begins with "-> " is a
// symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(files[path], "-> "); link {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(files[path]), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// contents are the files of a tree, without what the kernel would add to them.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root)] = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// machineTree is a machine with CPUs 0 to 7, of which the first half is isolated.
func machineTree() map[string]string { return treeOf(8, "0-3") }

// treeOf is a machine with so many CPUs, and some of them isolated.
func treeOf(cpus int, isolated string) map[string]string {
	all := fmt.Sprintf("0-%d\n", cpus-1)
	files := map[string]string{
		"sys/devices/system/cpu/possible": all, "sys/devices/system/cpu/online": all,
		"sys/devices/system/cpu/isolated": isolated + "\n", "sys/devices/system/cpu/nohz_full": isolated + "\n",
	}
	for n := range cpus {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/", n)
		files[dir+"scaling_available_governors"] = "performance powersave schedutil \n"
		files[dir+"scaling_governor"] = "schedutil\n"
		files[dir+"affected_cpus"] = fmt.Sprintf("%d\n", n)
	}
	return files
}

// device adds a PCI device with interrupts to a tree, and interfaces of it. The
// interrupts have numbers from first on, and the names of actions; "" has not been asked for.
func device(files map[string]string, address string, first int, actions []string, links ...string) {
	dir := "sys/devices/pci0000:00/" + address
	for i, action := range actions {
		n := strconv.Itoa(first + i)
		files[dir+"/msi_irqs/"+n] = "msix\n"
		if action == "" {
			continue
		}
		files["proc/irq/"+n+"/smp_affinity_list"] = "0-7\n"
		if files["proc/interrupts"] == "" {
			files["proc/interrupts"] = "           CPU0       CPU1\n"
		}
		files["proc/interrupts"] += fmt.Sprintf("%4s: %10d %10d PCI-MSIX-%s %4d-edge      %s\n", n, i, 0, address, i, action)
	}
	for _, link := range links {
		files[dir+"/net/"+link+"/mtu"] = "1500\n"
		files[dir+"/net/"+link+"/device"] = "-> ../.."
		files["sys/class/net/"+link] = "-> ../../" + strings.TrimPrefix(dir, "sys/") + "/net/" + link
	}
}

// nicTree is such a machine with NICs of several drivers.
func nicTree() map[string]string {
	files := machineTree()
	device(files, "0000:01:00.0", 30, []string{"enp1s0", "enp1s0", "enp1s0", "enp1s0"}, "enp1s0") // atlantic
	device(files, "0000:23:00.0", 40, []string{"i40e-0000:23:00.0:misc", "i40e-enp35s0-TxRx-0", "i40e-enp35s0-TxRx-1", ""}, "enp35s0")
	device(files, "0000:42:00.0", 50, []string{"mt7915e"}, "wlan_2g", "wlan_5g")
	files["sys/devices/pci0000:00/0000:42:00.0/driver"] = "-> ../../../bus/pci/drivers/mt7915e"
	device(files, "0000:44:00.0", 55, []string{"mt7915e-hif"}) // the radio's other half
	device(files, "0000:43:00.0", 60, []string{"mt7921e"}, "wlan_6g")
	for _, radio := range []string{"0000:42:00.0/net/wlan_2g", "0000:42:00.0/net/wlan_5g", "0000:43:00.0/net/wlan_6g"} {
		files["sys/devices/pci0000:00/"+radio+"/phy80211/index"] = "0\n"
	}
	// The name of the interface looks like that of a queue.
	device(files, "0000:06:00.0", 80, []string{"rx-1", "rx-1"}, "rx-1")
	// A virtio device is below the one with the interrupts.
	device(files, "0000:05:00.0", 70, []string{"virtio2-config", "virtio2-input.0", "virtio2-output.0", "virtio2-input.1", "virtio2-output.1"})
	files["sys/devices/pci0000:00/0000:05:00.0/virtio2/net/eth0/device"] = "-> ../.."
	files["sys/class/net/eth0"] = "-> ../../devices/pci0000:00/0000:05:00.0/virtio2/net/eth0"
	files["sys/class/net/br0/mtu"] = "1500\n"
	return files
}
