// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Services are what the daemon does for those who ask about its services. A name that none has is
// fs.ErrNotExist.
type Services interface {
	Services(ctx context.Context) ([]service.Status, error)
	RestartService(ctx context.Context, name string) error
	// ServiceLogs returns the last lines, the oldest first.
	ServiceLogs(ctx context.Context, name string, lines int) ([]string, error)
	ServiceConfig(ctx context.Context, name string) (service.Shown, error)
	// AskLLM has an instance of services.llama answer with so many tokens at most; an empty name is
	// the first one.
	AskLLM(ctx context.Context, instance, question string, tokens int) (llama.Answer, error)
}

// Bounds of questions: bytes and tokens.
const (
	maxQuestion = 64 << 10
	maxTokens   = 4096
)

// maxLogLines is more than are kept of a service without systemd.
const maxLogLines = 10000

// serviceActions are the requests about services.
func serviceActions(s Services, handle func(pattern string, do action)) {
	handle("GET /v1/services", func(r *http.Request) (any, error) {
		list, err := s.Services(r.Context())
		if list == nil {
			list = []service.Status{} // [] and not null
		}
		return list, err
	})
	const one = "/v1/services/{name}"
	handle("POST "+one+"/restart", func(r *http.Request) (any, error) {
		return struct{}{}, s.RestartService(r.Context(), r.PathValue("name"))
	})
	handle("GET "+one+"/config", func(r *http.Request) (any, error) {
		return s.ServiceConfig(r.Context(), r.PathValue("name"))
	})
	handle("POST /v1/llm/ask", func(r *http.Request) (any, error) {
		q := r.URL.Query()
		n, err := strconv.Atoi(q.Get("tokens"))
		if err != nil || n < 1 || n > maxTokens {
			return nil, BadInput(fmt.Errorf("tokens %q: want a number from 1 to %d", q.Get("tokens"), maxTokens))
		}
		if question := q.Get("question"); question == "" || len(question) > maxQuestion {
			return nil, BadInput(fmt.Errorf("a question of %d bytes: want 1 to %d", len(question), maxQuestion))
		}
		return s.AskLLM(r.Context(), q.Get("instance"), q.Get("question"), n)
	})
	handle("GET "+one+"/logs", func(r *http.Request) (any, error) {
		lines := 50
		if q := r.URL.Query().Get("lines"); q != "" {
			n, err := strconv.Atoi(q)
			if err != nil || n < 1 || n > maxLogLines {
				return nil, BadInput(fmt.Errorf("lines %q: want a number from 1 to %d", q, maxLogLines))
			}
			lines = n
		}
		return s.ServiceLogs(r.Context(), r.PathValue("name"), lines)
	})
}

// Services returns the services, and how they are.
func (c *Client) Services(ctx context.Context) ([]service.Status, error) {
	var list []service.Status
	return list, c.call(ctx, http.MethodGet, "/v1/services", nil, &list)
}

// RestartService has a service started again; the error is why it is not well then.
func (c *Client) RestartService(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, servicePath(name)+"/restart", nil, nil)
}

// ServiceLogs returns what a service has written last.
func (c *Client) ServiceLogs(ctx context.Context, name string, lines int) ([]string, error) {
	var list []string
	return list, c.call(ctx, http.MethodGet, servicePath(name)+"/logs", url.Values{"lines": {strconv.Itoa(lines)}}, &list)
}

// ServiceConfig returns the files of a service without its secrets.
func (c *Client) ServiceConfig(ctx context.Context, name string) (service.Shown, error) {
	var s service.Shown
	return s, c.call(ctx, http.MethodGet, servicePath(name)+"/config", nil, &s)
}

// AskLLM has an instance of the language model's server answer.
func (c *Client) AskLLM(ctx context.Context, instance, question string, tokens int) (llama.Answer, error) {
	var a llama.Answer
	q := url.Values{"instance": {instance}, "question": {question}, "tokens": {strconv.Itoa(tokens)}}
	return a, c.call(ctx, http.MethodPost, "/v1/llm/ask", q, &a)
}

func servicePath(name string) string { return "/v1/services/" + url.PathEscape(name) }
