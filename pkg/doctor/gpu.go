// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"path/filepath"
	"strconv"
	"strings"
)

const nvidiaVendor = "0x10de"

func checkGPU(r *report) {
	devices := r.gpus()
	if len(devices) == 0 {
		r.add(Note, "device", "there is no NVIDIA GPU", "no display device of vendor "+nvidiaVendor+" in /sys/bus/pci/devices", "")
		return
	}
	for _, path := range devices {
		r.gpuDriver(path)
	}
	r.nouveau()
	r.nvidiaModules()
	r.persistence()
	r.heat()
}

// gpus are the PCI devices that are NVIDIA's and for display or compute.
func (r *report) gpus() (out []string) {
	for _, path := range r.glob("sys/bus/pci/devices/*") {
		if r.read(path+"/vendor") == nvidiaVendor && strings.HasPrefix(r.read(path+"/class"), "0x03") {
			out = append(out, path)
		}
	}
	return out
}

func (r *report) gpuDriver(path string) {
	address := filepath.Base(path)
	driver := r.linkBase(path + "/driver")
	switch version := r.read("proc/driver/nvidia/version"); {
	case driver == "nvidia":
		first, _, _ := strings.Cut(version, "\n")
		r.add(Good, "device", address+": driver nvidia", first, "")
	case driver == "":
		r.add(Failure, "device", address+": no driver has the GPU", "no driver in /"+path, "modprobe nvidia, of the version that the libraries have")
	default:
		r.add(Failure, "device", address+": "+driver+" has the GPU, and CUDA cannot", "/"+path+"/driver", "nouveau blacklisted, and the nvidia module")
	}
}

func (r *report) nouveau() {
	loaded := r.exists("sys/module/nouveau")
	listed := strings.Contains(r.read("proc/cmdline"), "modprobe.blacklist=nouveau") || strings.Contains(r.read("proc/cmdline"), "nouveau.modeset=0")
	for _, dir := range []string{"etc/modprobe.d/*.conf", "usr/lib/modprobe.d/*.conf", "run/modprobe.d/*.conf"} {
		for _, path := range r.glob(dir) {
			for _, line := range strings.Split(r.read(path), "\n") {
				listed = listed || strings.Join(strings.Fields(line), " ") == "blacklist nouveau"
			}
		}
	}
	switch {
	case loaded:
		r.add(Failure, "nouveau", "nouveau is loaded, and takes the GPU before nvidia", "/sys/module/nouveau", "blacklist nouveau in /etc/modprobe.d, and rmmod nouveau")
	case !listed:
		r.add(Warning, "nouveau", "nouveau is not blacklisted: it may take the GPU at the next boot", "no blacklist nouveau in /etc/modprobe.d", "blacklist nouveau in /etc/modprobe.d")
	default:
		r.good("nouveau", "nouveau is blacklisted")
	}
}

func (r *report) nvidiaModules() {
	var lacks []string
	for _, name := range []string{"nvidia", "nvidia_uvm"} {
		if !r.exists("sys/module/" + name) {
			lacks = append(lacks, name)
		}
	}
	if len(lacks) > 0 {
		r.add(Failure, "modules", "modules that CUDA needs are not loaded", strings.Join(lacks, ", "), "modprobe "+strings.Join(lacks, "; modprobe "))
		return
	}
	r.good("modules", "nvidia and nvidia_uvm are loaded")
}

// persistence keeps the GPU set up while nobody uses it.
func (r *report) persistence() {
	off := false
	for _, line := range r.GPUs {
		if f := strings.Split(line, ", "); len(f) > 2 && f[2] == "Disabled" {
			off = true
		}
	}
	if off {
		r.add(Warning, "persistence", "the GPU is set up anew for each process, which takes seconds", "persistence mode: Disabled", "systemctl enable --now nvidia-persistenced")
		return
	}
	if len(r.GPUs) > 0 {
		r.good("persistence", "the GPU stays set up")
	}
}

// hot is a temperature at which NVIDIA's GPUs slow down or soon will, in °C.
const hot = 85

// heat looks at temperature and power, as NVML tells by nvidia-smi.
func (r *report) heat() {
	if len(r.GPUs) == 0 {
		r.add(Note, "heat", "temperature and power are not known", "no answer of nvidia-smi", "nvidia-smi of the driver's version")
		return
	}
	for _, line := range r.GPUs {
		f := strings.Split(line, ", ")
		if len(f) < 6 {
			continue
		}
		temperature, _ := strconv.Atoi(f[3])
		evidence := f[3] + " °C, " + f[4] + " W of " + f[5] + " W"
		if temperature >= hot {
			r.add(Warning, "heat", f[0]+": it is hot, and slows down", evidence, "its fans, or nvidia-smi --power-limit")
			continue
		}
		r.add(Good, "heat", f[0]+": temperature and power are as they should be", evidence, "")
	}
}

// linkBase is the last part of what a symbolic link names; empty if there is none.
func (h *Host) linkBase(path string) string {
	target, err := filepath.EvalSymlinks(filepath.Join(h.Root, path))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}
