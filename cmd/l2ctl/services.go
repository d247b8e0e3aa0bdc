// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"time"

	"github.com/randomizedcoder/l2d/pkg/service"
)

type servicesCmd struct {
	Status  servicesStatusCmd  `cmd:"" default:"withargs" help:"Show the services, and whether they are well."`
	Restart servicesRestartCmd `cmd:"" help:"Start a service again."`
	Logs    servicesLogsCmd    `cmd:"" help:"Show what a service has written last."`
	Config  servicesConfigCmd  `cmd:"" help:"Show the files of a service, without its secrets."`
}

type servicesStatusCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command. Its exit code is 1 if a service is not well.
func (c *servicesStatusCmd) Run(e *env) error {
	list, err := e.client.Services(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.out, list)
	} else {
		err = printServices(e, list)
	}
	ill := 0
	for i := range list {
		if list[i].Error != "" {
			ill++
		}
	}
	if err == nil && ill > 0 {
		err = fmt.Errorf("%d of %d services are not well", ill, len(list))
	}
	return err
}

func printServices(e *env, list []service.Status) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(e.out, "There are no services.")
		return err
	}
	t := newTable(e.out)
	t.row("SERVICE", "MODE", "PID", "SINCE", "RESTARTS", "STATE")
	for _, s := range list {
		pid, since, state := "-", "-", "up"
		if s.Running {
			pid = fmt.Sprint(s.PID)
			since = s.Started.Local().Format(time.DateTime)
		}
		switch {
		case s.Error != "":
			state = "DOWN: " + s.Error
		case s.Detail != "":
			state += ": " + s.Detail
		}
		t.row(s.Name, s.Mode, pid, since, s.Restarts, state)
	}
	return t.Flush()
}

type servicesRestartCmd struct {
	Name string `arg:"" help:"The service."`
	doneJSON
}

// Run implements the command.
func (c *servicesRestartCmd) Run(e *env) error {
	done := e.during(doing("waiting until " + c.Name + " is well"))
	err := e.client.RestartService(e.ctx, c.Name)
	done()
	if err != nil {
		return err
	}
	return c.say(e, "%s was started again, and is well.\n", c.Name)
}

type servicesLogsCmd struct {
	Name  string `arg:"" help:"The service."`
	Lines int    `short:"n" default:"50" help:"How many lines."`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *servicesLogsCmd) Run(e *env) error {
	lines, err := e.client.ServiceLogs(e.ctx, c.Name, c.Lines)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, lines)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(e.out, l); err != nil {
			return err
		}
	}
	return nil
}

type servicesConfigCmd struct {
	Name string `arg:"" help:"The service."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *servicesConfigCmd) Run(e *env) error {
	s, err := e.client.ServiceConfig(e.ctx, c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, s)
	}
	if s.Process != "" {
		if _, err := fmt.Fprint(e.out, s.Process); err != nil {
			return err
		}
	}
	for _, f := range s.Files {
		if _, err := fmt.Fprintf(e.out, "\n==> %s  %s <==\n%s", f.Path, f.Owner, f.Text); err != nil {
			return err
		}
	}
	return nil
}
