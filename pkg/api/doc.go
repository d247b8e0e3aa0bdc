// SPDX-License-Identifier: GPL-2.0-only

// Package api is the control interface of the daemon: HTTP with JSON bodies on
// a unix socket that only root can open.
//
//	GET    /v1/status                              Status
//	GET    /v1/rules                               Rules
//	GET    /v1/ntuple                              []NTuple
//	GET    /v1/flows?addr=&port=&proto=&state=     one flow a line
//	GET    /v1/flows/count?...                     Count
//	GET    /v1/sets/FAMILY/TABLE/SET               []Element
//	PUT    /v1/sets/FAMILY/TABLE/SET/ELEMENT?timeout=30s
//	DELETE /v1/sets/FAMILY/TABLE/SET/ELEMENT
//	POST   /v1/reload                              Reloaded
//	POST   /v1/detach?fallback=false               Detached
//
// An error has a status of 400 or above and a body {"error": "..."}.
package api
