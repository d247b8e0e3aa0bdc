// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/randomizedcoder/l2d/pkg/explain"
)

// maxExplain is the largest request to explain a packet, in bytes: with a ruleset.
const maxExplain = 16 << 20

// Explain has the daemon say what becomes of a packet, and why.
func (c *Client) Explain(ctx context.Context, r explain.Request) (*explain.Explanation, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(ctx, http.MethodPost, "/v1/explain", nil, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	e := &explain.Explanation{}
	if err := json.NewDecoder(answer).Decode(e); err != nil {
		return nil, fmt.Errorf("answer of the daemon: %w", err)
	}
	return e, nil
}

func explainPacket(s Service, r *http.Request) (any, error) {
	var req explain.Request
	d := json.NewDecoder(io.LimitReader(r.Body, maxExplain))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		return nil, BadInput(fmt.Errorf("explain: %w", err))
	}
	e, err := s.Explain(r.Context(), req)
	var input *explain.InputError
	if errors.As(err, &input) {
		err = BadInput(err)
	}
	return e, err
}
