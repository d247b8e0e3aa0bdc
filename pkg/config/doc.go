// SPDX-License-Identifier: GPL-2.0-only

// Package config reads l2d's YAML file.
//
// Reading is strict: a key that is not known, a value of the wrong type or out
// of its range, and a key given twice are errors. Every problem of a file is
// reported, each with its line, its column, the path of the key, the value
// found and what would be accepted instead.
package config
