// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Kinds are all kinds of resources of the running kernel.
func Kinds() []reconcile.Kind {
	dial := dialOnce()
	kinds := []reconcile.Kind{
		NewSysctl(), NewAlgorithm(), &Link{"/"}, Port{}, &Features{dial}, MTU{}, &IRQ{"/"}, NewRPS(), NewXPS(), NewThreaded(), NewThreads(), &Governor{"/"}, &AQM{"/"}, Regdom{},
		newWoL(dial), &PrivateFlags{dial}, newFEC(dial), &RSS{ethioctl.Kernel{}}, &NTuple{ethioctl.Kernel{}},
		&Route{ofKernel}, &Qdisc{dialTC(), &kernelQdiscs{has: map[string]bool{}}},
	}
	for _, g := range nicGroups {
		kinds = append(kinds, &Settings{g, dial})
	}
	return kinds
}

// Resources are what a configuration declares. A pattern stands for the sysctls
// there are now; a sysctl that is named itself is not of a pattern's.
func Resources(c *config.Config) ([]reconcile.Resource, error) { return resources("/", c) }

// resources are those of a machine whose files of interrupts and CPUs are below a root.
func resources(root string, c *config.Config) ([]reconcile.Resource, error) {
	s := NewSysctl()
	b := sysctls{list: map[string]*reconcile.Resource{}, pattern: map[string]string{}}
	var errs []error
	for _, pattern := range []bool{false, true} {
		for i := range c.Host.Sysctls {
			d := &c.Host.Sysctls[i]
			name := CanonicalSysctl(d.Name)
			if strings.Contains(name, "*") != pattern {
				continue
			}
			names, err := s.Expand(name)
			if err != nil {
				e := d.At(c.Path)
				e.Problem, e.Want = err.Error(), cmp.Or(s.nearestPattern(name), "a pattern that \"sysctl -a\" has a name for")
				errs = append(errs, e)
				continue
			}
			names = slices.Compact(slices.Sorted(slices.Values(append(names, madeSysctls(c, name)...))))
			for _, n := range names {
				errs = append(errs, b.add(n, d, d.At(c.Path), pattern))
			}
		}
	}
	out := make([]reconcile.Resource, 0, len(b.order))
	if r := NewAlgorithm().resource(c); r != nil {
		out = append(out, *r)
	}
	load(slices.Collect(maps.Values(b.list)))
	ofKernel.tryValues(s, slices.Collect(maps.Values(b.list)))
	for _, n := range b.order {
		out = append(out, *b.list[n])
	}
	for i := range c.Host.NICs {
		list, err := nicResources(c.Path, &c.Host.NICs[i])
		out, errs = append(out, list...), append(errs, err)
	}
	for i := range c.Host.Routes {
		r := &c.Host.Routes[i]
		at := r.At(c.Path)
		out = append(out, reconcile.Resource{
			Kind: RouteKind, Name: r.Prefix.String(), Want: reconcile.State{algorithmKey: r.CongestionControl}, Rank: routeRank, Enforce: r.Enforce,
			At: reconcile.PlaceOf(at),
		})
	}
	out = append(out, regdomResource(c)...)
	for i := range c.Host.Qdiscs {
		out = append(out, qdiscResources(c.Path, &c.Host.Qdiscs[i])...)
	}
	placed, err := PlaceNTuples(c)
	if err == nil {
		out = append(out, ntupleResources(c, ethioctl.Kernel{}, placed)...)
	}
	errs = append(errs, err)
	work, err := cpuResources(root, c)
	links, linkErrs := linkResources(c)
	shapers, shaperErr := shaperResources(c)
	out = makers(c, slices.Concat(links, shapers, out, work))
	return out, errors.Join(append(append(errs, linkErrs...), shaperErr, err)...)
}

// absent tells whether an interface is not there, and need not be.
func absent(n *config.NIC) bool {
	if !n.Optional {
		return false
	}
	_, err := link(n.Name)
	return errors.Is(err, fs.ErrNotExist)
}

// routeRank is behind those of links and addresses, which come with routes.
const routeRank = qdiscRank - 1

// qdiscRank is behind those of NICs: a change of channels makes queues anew.
const qdiscRank = nicRank + 60

// qdiscResources are those of an interface's qdisc, and of that for what comes in; none of
// an optional interface that is not there.
func qdiscResources(file string, q *config.Qdisc) (out []reconcile.Resource) {
	if isMissing(q) {
		return nil
	}
	at := q.At(file)
	for name, options := range map[string]map[string]string{q.Name: q.Root, config.Shaper(q.Name): q.Ingress} {
		if len(options) == 0 {
			continue
		}
		out = append(out, reconcile.Resource{
			Kind: QdiscKind, Name: name, Want: wantedQdisc(options), Rank: qdiscRank, Enforce: q.Enforce,
			At: reconcile.PlaceOf(at),
		})
	}
	slices.SortFunc(out, func(a, b reconcile.Resource) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// wantedQdisc has attributes for the options of a qdisc and of those below it.
func wantedQdisc(options map[string]string) reconcile.State {
	want := reconcile.State{}
	for key, v := range options {
		scope, name := "", key
		if i := strings.LastIndexByte(key, ' '); i >= 0 {
			scope, name = key[:i], key[i+1:]
		}
		a := attr{scope: scope, name: name}
		if parseAttr(key).kind != "" || scope == "" && name != kindKey && name != handleKey && name != classesKey {
			a.kind = options[attr{scope, "", kindKey}.key()]
		}
		want[a.key()] = v
	}
	return want
}

// sysctls are the resources of a configuration's sysctls by name.
type sysctls struct {
	list    map[string]*reconcile.Resource
	pattern map[string]string // by which one is declared; empty if it is named itself
	order   []string
}

// add adds a sysctl that a declaration at a place of the file names, or stands for.
func (b *sysctls) add(name string, d *config.Sysctl, at config.Error, pattern bool) error {
	if other := b.list[name]; other != nil {
		switch by := b.pattern[name]; {
		case pattern && by == "", other.Want[valueKey] == canonical(name, d.Value) && other.Enforce == d.Enforce:
			return nil
		case by == "":
			at.Problem, at.Want = fmt.Sprintf("declared twice, first on line %d", other.At.Line), "each sysctl once"
		default:
			at.Problem, at.Want = fmt.Sprintf("%s is declared in another way by %s on line %d", name, by, other.At.Line), "the same, or the sysctl by its name"
		}
		return at
	}
	r := &reconcile.Resource{
		Kind: SysctlKind, Name: name, Want: reconcile.State{valueKey: canonical(name, d.Value)}, Rank: SysctlRank(name),
		At: reconcile.PlaceOf(at), Enforce: d.Enforce,
	}
	b.list[name], b.order = r, append(b.order, name)
	if pattern {
		b.pattern[name] = d.Name
	}
	return nil
}
