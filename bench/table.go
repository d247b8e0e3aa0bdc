// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the summaries for people.
func WriteTable(w io.Writer, r *Report, summaries []Summary, references ...string) error {
	e := r.Environment
	fmt.Fprintf(w, "Linux %s, %s, %d CPUs, BPF JIT %s, commit %s\n", e.Kernel, e.CPU, e.CPUs, e.JIT, e.Commit)
	fmt.Fprintf(w, "UDP, %s%s%s, %d × %s each, in turns\n\n",
		r.frames(), r.flows(), r.cores(), e.Options.Repetitions, e.Options.Duration)

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "device\tMpps/core\tspread\tns/packet\tMpps\tbusy\tlost\t")
	for _, to := range references {
		fmt.Fprintf(t, "/ %s (95 %%)\t", to)
	}
	fmt.Fprintln(t)
	for _, s := range summaries {
		fmt.Fprintf(t, "%s\t%.3f\t%.1f %%\t%.0f\t%.3f\t%.0f %%\t%.2f %%\t",
			s.Device, s.Rate/1e6, 100*s.Spread, s.Nanoseconds, s.Wall/1e6, 100*s.Busy, 100*s.Lost)
		for _, to := range references {
			fmt.Fprintf(t, "%s\t", s.ratio(to))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range summaries {
		if !s.Conclusive() {
			fmt.Fprintf(w, "\ninconclusive: %s: %s", s.Device, strings.Join(s.Doubts, ", "))
		}
	}
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s: %s: %g %s\n", f.Device, f.Name, f.Value, f.Unit)
	}
	return nil
}

// flows is the number of flows for the table's head, if it is the same for all.
func (r *Report) flows() string {
	if len(r.Samples) == 0 {
		return ""
	}
	for _, s := range r.Samples {
		if s.Flows != r.Samples[0].Flows {
			return ""
		}
	}
	return fmt.Sprintf("%d flows, ", r.Samples[0].Flows)
}

// frames are the mix for the table's head, if it is the same for all.
func (r *Report) frames() string {
	if len(r.Samples) == 0 {
		return ""
	}
	mix := r.Samples[0].Mix
	for _, s := range r.Samples {
		if s.Mix != mix {
			return ""
		}
	}
	if mix == "" {
		return fmt.Sprintf("%d bytes on the wire, ", r.Environment.FrameLen+fcsLen)
	}
	return mix + ", "
}

// cores are the router's, for the table's head.
func (r *Report) cores() string {
	for _, s := range r.Samples {
		if s.Cores > 1 {
			return "one packet core and more"
		}
	}
	return "one packet core"
}

func (s Summary) ratio(to string) string {
	for _, r := range s.Ratios {
		if r.To == to {
			return r.String()
		}
	}
	return "-"
}
