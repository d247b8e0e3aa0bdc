// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Record is a line of the result file: one of its fields is set.
type Record struct {
	Environment *Environment `json:"environment,omitempty"`
	Sample      *Sample      `json:"sample,omitempty"`
	Figure      *Figure      `json:"figure,omitempty"`
	Summary     *Summary     `json:"summary,omitempty"`
}

// WriteJSON writes the report as JSON lines. Summaries are for the reader's
// convenience: all that is in them follows from the samples.
func (r *Report) WriteJSON(w io.Writer, summaries []Summary) error {
	records := []Record{{Environment: &r.Environment}}
	for i := range r.Samples {
		records = append(records, Record{Sample: &r.Samples[i]})
	}
	for i := range r.Figures {
		records = append(records, Record{Figure: &r.Figures[i]})
	}
	for i := range summaries {
		records = append(records, Record{Summary: &summaries[i]})
	}
	e := json.NewEncoder(w)
	for _, record := range records {
		if err := e.Encode(record); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote, without the summaries.
func ReadJSON(rd io.Reader) (*Report, error) {
	d := json.NewDecoder(rd)
	d.DisallowUnknownFields()
	r := &Report{}
	for line := 1; ; line++ {
		var record Record
		err := d.Decode(&record)
		switch {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return nil, fmt.Errorf("results, line %d: %w", line, err)
		case record.Environment != nil:
			r.Environment = *record.Environment
		case record.Sample != nil:
			r.Samples = append(r.Samples, *record.Sample)
		case record.Figure != nil:
			r.Figures = append(r.Figures, *record.Figure)
		case record.Summary == nil:
			return nil, fmt.Errorf("results, line %d: none of what is known", line)
		}
	}
}
