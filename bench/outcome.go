// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"fmt"
	"math"
)

// Outcome is what a tool has found in one turn of a device.
type Outcome struct {
	Device string `json:"device"`
	Tool   string `json:"tool"`
	Round  int    `json:"round"`
	// Busy is the part of the time that the packet core was busy: with the router's
	// work, if the machine does nothing else.
	Busy     float64   `json:"busy"`
	Measures []Measure `json:"measures"`
	// Raw is the folder with what the programs have printed.
	Raw string `json:"raw,omitempty"`
}

// check refuses what no run can have found.
func (o Outcome) check() error {
	if err := errors.Join(checkName(o.Device), checkName(o.Tool)); err != nil {
		return err
	}
	if o.Round < 0 || o.Busy < 0 || o.Busy > 1e3 || len(o.Measures) == 0 {
		return errors.New("not the outcome of a turn")
	}
	for _, m := range o.Measures {
		if err := errors.Join(checkName(m.Name), checkName(m.Unit), m.checkQuantiles(), m.checkOver()); err != nil {
			return err
		}
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) || m.Value < 0 {
			return fmt.Errorf("%s is %g %s", m.Name, m.Value, m.Unit)
		}
	}
	return nil
}

// toolFigure is a figure of a tool: one row of the table.
type toolFigure struct {
	tool, name, unit string
	higher           bool
}

// toolFigures are those that were found, in the order in which they were.
func (r *Report) toolFigures() (list []toolFigure) {
	seen := map[toolFigure]bool{}
	for _, o := range r.Outcomes {
		for _, m := range o.Measures {
			f := toolFigure{o.Tool, m.Name, m.Unit, m.Higher}
			if !seen[f] {
				seen[f] = true
				list = append(list, f)
			}
		}
	}
	return list
}

// found are the values of a figure for a device, by round: NaN where it has none.
func (r *Report) found(device string, f toolFigure) []float64 {
	var out []float64
	for _, o := range r.Outcomes {
		if o.Device != device || o.Tool != f.tool {
			continue
		}
		value := math.NaN()
		for _, m := range o.Measures {
			if m.Name == f.name && m.Unit == f.unit {
				value = m.Value
			}
		}
		out = append(out, value)
	}
	return out
}

// toolDevices are those that tools were run on, in that order.
func (r *Report) toolDevices() (list []string) {
	seen := map[string]bool{}
	for _, o := range r.Outcomes {
		if !seen[o.Device] {
			seen[o.Device] = true
			list = append(list, o.Device)
		}
	}
	return list
}

// toolSeries are the figures of tools for each device.
func (r *Report) toolSeries() (out []series) {
	for _, f := range r.toolFigures() {
		for _, device := range r.toolDevices() {
			s := series{
				name: fmt.Sprintf("%s: %s %s", device, f.tool, f.name), unit: f.unit, higher: f.higher,
				values: r.found(device, f),
			}
			if p := spread(s.values); p > maxSpread || math.IsNaN(p) {
				s.doubts = []string{fmt.Sprintf("spread %.0f %%", 100*p)}
			}
			if len(s.values) > 0 {
				out = append(out, s)
			}
		}
	}
	return out
}
