// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"unicode"
	"unicode/utf8"
)

// Record is a line of the result file: one of its fields is set. The first line is
// the environment, the last one the end: a file without it is a torn one.
type Record struct {
	Environment *Environment `json:"environment,omitempty"`
	Sample      *Sample      `json:"sample,omitempty"`
	Micro       *Micro       `json:"micro,omitempty"`
	Outcome     *Outcome     `json:"outcome,omitempty"`
	Figure      *Figure      `json:"figure,omitempty"`
	Summary     *Summary     `json:"summary,omitempty"`
	End         *End         `json:"end,omitempty"`
}

// End is the last line of a file.
type End struct {
	Lines int `json:"lines"` // before it
	// Failure is why the run did not come to its end; what was measured until then
	// is kept, for people.
	Failure string `json:"failure,omitempty"`
}

// Limits of a file that is read.
const (
	maxLine  = 16 << 20 // bytes: the raw output of a tool is one line
	maxLines = 1 << 20
	maxName  = 128 // bytes
)

// WriteJSON writes the report as JSON lines. Summaries are for the reader's
// convenience: all that is in them follows from the samples.
func (r *Report) WriteJSON(w io.Writer, summaries []Summary) error {
	return r.write(w, summaries, "")
}

func (r *Report) write(w io.Writer, summaries []Summary, failure string) error {
	records := []Record{{Environment: &r.Environment}}
	for i := range r.Samples {
		records = append(records, Record{Sample: &r.Samples[i]})
	}
	for i := range r.Micros {
		records = append(records, Record{Micro: &r.Micros[i]})
	}
	for i := range r.Outcomes {
		records = append(records, Record{Outcome: &r.Outcomes[i]})
	}
	for i := range r.Figures {
		records = append(records, Record{Figure: &r.Figures[i]})
	}
	for i := range summaries {
		records = append(records, Record{Summary: &summaries[i]})
	}
	records = append(records, Record{End: &End{Lines: len(records), Failure: failure}})
	e := json.NewEncoder(w)
	for _, record := range records {
		if err := e.Encode(record); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

// ReadFile reads a file that WriteJSON wrote.
func ReadFile(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// ReadJSON reads what WriteJSON wrote, without the summaries. A file that is
// torn, or that no run can have written, is an error that names the line.
func ReadJSON(rd io.Reader) (*Report, error) {
	s := bufio.NewScanner(rd)
	s.Buffer(nil, maxLine)
	r := reader{report: &Report{}}
	for s.Scan() {
		if err := r.line(s.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", r.lines+1, err)
		}
		r.lines++
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", r.lines+1, err)
	}
	if !r.ended {
		return nil, fmt.Errorf("line %d: the file ends here, without its end: it is torn", r.lines+1)
	}
	return r.report, nil
}

// reader is what has been read of a file.
type reader struct {
	report *Report
	lines  int
	ended  bool
	seen   map[turn]bool
}

// turn is one repetition of a device.
type turn struct {
	device string
	number int
}

func (r *reader) line(b []byte) error {
	var record Record
	if err := decode(b, &record); err != nil {
		return err
	}
	switch {
	case r.ended:
		return errors.New("behind the end")
	case r.lines >= maxLines:
		return fmt.Errorf("more than %d lines", maxLines)
	case (r.lines == 0) != (record.Environment != nil):
		return errors.New("the environment is the first line, and only that")
	case record.Environment != nil:
		r.report.Environment = *record.Environment
		return record.Environment.check()
	case record.Sample != nil:
		if err := r.once(record.Sample.Device, record.Sample.Round); err != nil {
			return err
		}
		r.report.Samples = append(r.report.Samples, *record.Sample)
		return record.Sample.check()
	case record.Micro != nil:
		if err := r.once(record.Micro.Path, record.Micro.Round); err != nil {
			return err
		}
		r.report.Micros = append(r.report.Micros, *record.Micro)
		return record.Micro.check()
	case record.Outcome != nil:
		if err := r.once(record.Outcome.Device+", "+record.Outcome.Tool, record.Outcome.Round); err != nil {
			return err
		}
		r.report.Outcomes = append(r.report.Outcomes, *record.Outcome)
		return record.Outcome.check()
	case record.Figure != nil:
		r.report.Figures = append(r.report.Figures, *record.Figure)
		return errors.Join(checkName(record.Figure.Device), checkName(record.Figure.Name), checkName(record.Figure.Unit))
	case record.End != nil:
		r.ended = true
		if record.End.Lines != r.lines {
			return fmt.Errorf("%d lines before the end, which has counted %d", r.lines, record.End.Lines)
		}
		if record.End.Failure != "" {
			return fmt.Errorf("the run failed: %.200q", record.End.Failure)
		}
	}
	return nil
}

// once refuses a second result of the same turn.
func (r *reader) once(device string, number int) error {
	if r.seen == nil {
		r.seen = map[turn]bool{}
	}
	key := turn{device, number}
	if r.seen[key] {
		return fmt.Errorf("round %d of %.40q is there twice", number, device)
	}
	r.seen[key] = true
	return nil
}

// decode reads one record, and nothing else, from a line.
func decode(b []byte, record *Record) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(record); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the record ends too early")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than a record")
	}
	set := 0
	for v, i := reflect.ValueOf(*record), 0; i < v.NumField(); i++ {
		if !v.Field(i).IsNil() {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("%d of the known kinds of record, not one", set)
	}
	return nil
}

// checkName refuses what would garble a table.
func checkName(s string) error {
	if s == "" || len(s) > maxName || !printable(s) {
		return fmt.Errorf("%.40q is no name", s)
	}
	return nil
}

// printable says whether s is one line of text.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// save writes the report to a file, if it has a name.
func (r *Report) save(name string, summaries []Summary) error {
	if name == "" {
		return nil
	}
	return writeFile(name, func(w io.Writer) error { return r.WriteJSON(w, summaries) })
}

// conclude keeps the results of a run, and prints their table to standard output; of one
// that failed it keeps what there is, and returns the failure.
func (r *Report) conclude(name string, failure error, references ...string) error {
	if failure != nil {
		return r.saveFailed(name, failure)
	}
	summaries := r.Summarize(references...)
	if err := r.save(name, summaries); err != nil {
		return err
	}
	return WriteTable(os.Stdout, r, summaries, references...)
}

// saveFailed keeps what was measured until a run failed, if anything was. It returns
// the error that the run failed with.
func (r *Report) saveFailed(name string, failure error) error {
	if name == "" || r == nil || len(r.Samples)+len(r.Micros)+len(r.Outcomes) == 0 {
		return failure
	}
	return errors.Join(failure, writeFile(name, func(w io.Writer) error { return r.write(w, nil, failure.Error()) }))
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
