// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/wifi"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Gather asks the running kernel, and the daemon if one runs, for what files do not
// tell. Without the name of a configuration file it is the daemon's, or the default
// one. What cannot be asked for is left out.
func Gather(ctx context.Context, file string, client *api.Client, interval time.Duration) *Host {
	h := &Host{Root: "/", Interval: interval}
	if h.Status = status(ctx, client); h.Status != nil {
		file = cmp.Or(file, h.Status.Config)
	}
	h.Config, h.ConfigError = config.Load(cmp.Or(file, config.DefaultPath))
	h.Links = links()
	h.Qdiscs = qdiscs()
	if s, err := host.BBR3(); err == nil && s.Registered {
		h.BBR3 = &BBR3{s.Connections, s.Begun, s.WithoutState, s.Settings.ECN}
	}
	h.Tables = tables(ctx, h.Config)
	h.FileSystems = fileSystems(h.Config)
	h.Clock = clock()
	h.GPUs = gpuLines(ctx)
	h.radios()
	if err := enforce.CheckHost(); err != nil {
		h.HostProblem = err.Error()
	}
	h.Pause = func() {
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
		h.Later = status(ctx, client)
	}
	return h
}

// status is the daemon's; nil if none answers.
func status(ctx context.Context, client *api.Client) *api.Status {
	s, err := client.Status(ctx)
	if err != nil {
		return nil
	}
	return &s
}

// links are the network interfaces but lo, with their queues and features.
func links() (out []Link) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	names := map[int]string{}
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	root := map[int]string{}
	if qdiscs, err := netlink.QdiscList(nil); err == nil {
		for _, q := range qdiscs {
			if q.Attrs().Parent == netlink.HANDLE_ROOT {
				root[q.Attrs().LinkIndex] = q.Type()
			}
		}
	}
	l4s := dualpi2Counts()
	xdp, _ := host.XDPFeatures() // none before Linux 6.3
	client, err := ethnl.Dial()
	if err == nil {
		defer func() { _ = client.Close() }()
	}
	for _, l := range list {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		link := Link{Name: a.Name, Up: a.RawFlags&unix.IFF_UP != 0, Qdisc: root[a.Index], Master: names[a.MasterIndex], L4S: l4s[a.Index]}
		if t := l.Type(); t != "device" {
			link.Kind = t
		}
		if bits, ok := xdp[a.Index]; ok {
			link.XDP = &bits
		}
		if client != nil {
			link.Features = features(client, a.Name)
		}
		out = append(out, link)
	}
	slices.SortFunc(out, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func features(client *ethnl.Client, link string) map[string]bool {
	list, err := client.Features(link)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for name, f := range list {
		if f.Active || !f.Fixed { // else the driver does not have it
			out[name] = f.Active
		}
	}
	return out
}

// qdiscs tries kinds that there may be none of.
func qdiscs() map[string]bool {
	if os.Geteuid() != 0 {
		return nil
	}
	out := map[string]bool{}
	kinds := []string{"dualpi2"}
	lacks := host.LacksQdiscs(kinds...)
	for _, kind := range kinds {
		out[kind] = !slices.Contains(lacks, kind)
	}
	return out
}

// tables are those of nftables.
func tables(ctx context.Context, c *config.Config) (out []Table) {
	rs, err := nft.ListChains(ctx)
	if err != nil {
		return nil
	}
	runDir := filepath.Dir(config.DefaultSocket)
	if c != nil {
		runDir = c.Control.RunDir()
	}
	adopted, err := enforce.Adopted(runDir)
	for _, t := range rs.Tables {
		n := Table{Name: t.String(), Dormant: t.Dormant, Comment: t.Comment, Adoption: err == nil && adopted(t)}
		for _, c := range t.Chains {
			if c.Base != nil {
				n.Chains++
			}
		}
		out = append(out, n)
	}
	return out
}

// fileSystems are those that l2d and the host write to, each once.
func fileSystems(c *config.Config) (out []FileSystem) {
	paths := []string{"/", "/var", "/var/log", "/var/lib", "/run", "/tmp"}
	if c != nil {
		paths = append(paths, c.Host.StateDir)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		var s unix.Statfs_t
		if err := unix.Statfs(path, &s); err != nil || s.Blocks == 0 {
			continue
		}
		id := fmt.Sprint(s.Fsid, s.Blocks, s.Files)
		if seen[id] {
			continue
		}
		seen[id] = true
		size := uint64(s.Bsize)
		out = append(out, FileSystem{path, s.Blocks * size, s.Bavail * size, s.Files, s.Ffree})
	}
	return out
}

// timeError is what adjtimex returns for a clock that is not synchronised:
// TIME_ERROR.
const timeError = 5

func clock() *Clock {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return nil
	}
	return &Clock{Synchronised: state != timeError && t.Status&unix.STA_UNSYNC == 0, MaxError: time.Duration(t.Maxerror) * time.Microsecond}
}

// radios asks for the country, and for the bands of radios by the interfaces that these have.
func (h *Host) radios() {
	c, err := wifi.New()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	if d, err := c.GetRegulatoryDomain(); err == nil {
		h.Region = d.Region
	}
	phys, err := c.PHYs()
	if err != nil {
		return
	}
	of := map[int][]string{}
	for _, p := range phys {
		for _, b := range p.BandAttributes {
			if len(b.FrequencyAttributes) > 0 {
				of[p.Index] = append(of[p.Index], hostapd.BandOf(b.FrequencyAttributes[0].Frequency))
			}
		}
	}
	links, err := c.Interfaces()
	if err != nil {
		return
	}
	h.Bands = map[string][]string{}
	for _, l := range links {
		h.Bands[l.Name] = of[l.PHY]
	}
}

// gpuPatience is how long NVML may take to set up GPUs that nobody uses.
const gpuPatience = 20 * time.Second

// gpuLines asks NVML by the program that comes with it.
func gpuLines(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, gpuPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,driver_version,persistence_mode,temperature.gpu,power.draw,power.limit",
		"--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
