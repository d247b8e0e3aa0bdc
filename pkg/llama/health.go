// SPDX-License-Identifier: GPL-2.0-only

package llama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// props are some of those of the server.
type props struct {
	Role      string `json:"role"`
	ModelPath string `json:"model_path"`
	Build     string `json:"build_info"`
	Slots     int    `json:"total_slots"`
}

// Health implements [service.Daemon]. A server without a model says that it is well: it waits for requests to
// load one.
func (*Daemon) Health(ctx context.Context, u *service.Unit, _ service.Process) (service.Health, error) {
	if _, err := call(ctx, u, http.MethodGet, "/health", nil); err != nil {
		return service.Health{}, err
	}
	b, err := call(ctx, u, http.MethodGet, "/props", nil)
	if err != nil {
		return service.Health{}, err
	}
	return readProps(b)
}

// readProps is the health that the server's properties come to.
func readProps(b []byte) (service.Health, error) {
	var p props
	if err := json.Unmarshal(b, &p); err != nil {
		return service.Health{}, fmt.Errorf("/props: %w", err)
	}
	if p.Role == "router" || p.ModelPath == "" {
		return service.Health{}, errors.New("has no model")
	}
	detail := path.Base(p.ModelPath)
	if p.Slots > 0 {
		detail += fmt.Sprintf(", %d at a time", p.Slots)
	}
	return service.Health{Detail: detail, Version: p.Build}, nil
}

// call asks the server of a unit.
func call(ctx context.Context, u *service.Unit, method, what string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+u.Params[addressParam]+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if f := u.File(u.Params[keyParam]); f != nil { // which is nowhere if somebody else runs it
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(f.Content)))
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", what, res.Status, reason(b))
	}
	return b, nil
}

// client asks the address itself, whatever proxy l2d was started with.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// maxReason bounds what is told of an error, in bytes.
const maxReason = 200

// reason is what the server says is wrong.
func reason(b []byte) string {
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(b, &e) == nil && e.Error.Message != "" {
		b = []byte(e.Error.Message)
	}
	return strings.ToValidUTF8(string(b[:min(len(b), maxReason)]), "\uFFFD")
}

// Answer is what a model has said.
type Answer struct {
	Instance string `json:"instance"`
	Text     string `json:"text"`
	// Tokens is how many it has.
	Tokens int `json:"tokens"`
}

// Ask has the server of a unit answer a question with so many tokens at most.
func Ask(ctx context.Context, u *service.Unit, question string, tokens int) (Answer, error) {
	body, err := json.Marshal(map[string]any{"messages": []message{{"user", question}}, "max_tokens": tokens})
	if err != nil {
		return Answer{}, err
	}
	b, err := call(ctx, u, http.MethodPost, "/v1/chat/completions", body)
	if err != nil {
		return Answer{}, err
	}
	a, err := readAnswer(b)
	a.Instance = strings.TrimPrefix(u.Name, UnitName(""))
	return a, err
}

// message is one of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// readAnswer reads what a model has said.
func readAnswer(b []byte) (Answer, error) {
	var r struct {
		Choices []struct {
			Message message `json:"message"`
		} `json:"choices"`
		Usage struct {
			Tokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Answer{}, fmt.Errorf("the answer: %w", err)
	}
	if len(r.Choices) == 0 {
		return Answer{}, errors.New("no answer")
	}
	return Answer{Text: r.Choices[0].Message.Content, Tokens: r.Usage.Tokens}, nil
}
