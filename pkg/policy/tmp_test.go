package policy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

func TestTmp(t *testing.T) {
	for _, f := range []string{"/tmp/pol/l2.nft", "../../examples/l2/firewall.nft", "../../examples/hardened/firewall.nft"} {
		m := map[string]int{"lo": 1, "br0": 7, "enp1s0": 3, "enp66s0f0np0": 11, "enp66s0f1np1": 12}
		var links []nft.Link
		for n, i := range m {
			links = append(links, nft.Link{n, i})
		}
		rs, err := nft.ReadFile(context.Background(), f, links)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(rs, Options{Links: m})
		if err != nil {
			fmt.Println(err)
			continue
		}
		for _, o := range []string{"testdata/harness.o", "../../loader/l2tc_bpfel.o", "../../loader/l2xdp_bpfel.o"} {
			spec, err := ebpf.LoadCollectionSpec(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Splice(spec); err != nil {
				t.Fatal(err)
			}
			if o == "testdata/harness.o" {
				fmt.Println(spec.Programs["harness"].Instructions)
			}
			st := time.Now()
			c, err := ebpf.NewCollection(spec)
			if err != nil {
				t.Errorf("%s: %+v", o, err)
				continue
			}
			fmt.Println(o, time.Since(st))
			for n, p := range c.Programs {
				i, _ := p.Info()
				v, _ := i.VerifiedInstructions()
				fmt.Println(n, v)
			}
			c.Close()
		}
		fmt.Printf("%x\n", p.Hash())
		for _, w := range p.Lint() { fmt.Println("WARN", w.Kind, w) }
	}
}
