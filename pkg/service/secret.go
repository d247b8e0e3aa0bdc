// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// maxSecret is more than any secret has, in bytes.
const maxSecret = 4096

// Secret reads a secret: one line, without its end. The file must be nobody's to read but
// its owner's and its group's. An error has the place in the configuration, and never what
// was read.
func Secret(c *config.Config, s *config.Secret) (string, error) {
	path := s.File
	fail := func(problem, want string) (string, error) {
		e := s.At(c.Path)
		e.Value, e.Problem, e.Want = s.String(), problem, want
		return "", e
	}
	if s.Credential != "" {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return fail("l2d has no credentials", "LoadCredential="+s.Credential+":PATH in the unit of l2d, or the path of a file")
		}
		path = filepath.Join(dir, s.Credential)
	}
	b, err := readSecret(path)
	var wide *wideError
	switch {
	case errors.As(err, &wide):
		return fail(wide.Error(), "chmod "+wide.mode()+" "+path)
	case err != nil:
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fail(err.Error(), "a file of one line that root can read")
	}
	return b, nil
}

// wideError refuses a file that too many can read or write.
type wideError struct{ is fs.FileMode }

func (e *wideError) Error() string { return fmt.Sprintf("has mode %04o: it is not a secret", e.is) }

// mode is what it is to be: a group that can read it still can.
func (e *wideError) mode() string {
	if e.is&0o040 != 0 {
		return "0640"
	}
	return "0600"
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("is no file")
	case info.Mode().Perm()&^0o740 != 0:
		return "", &wideError{info.Mode().Perm()}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(b), "\r\n")
	switch {
	case len(b) > maxSecret:
		return "", fmt.Errorf("has more than %d bytes", maxSecret)
	case text == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(text, "\r\n\x00") || bytes.Contains(b, []byte("\n\n")):
		return "", errors.New("has more than one line")
	}
	return text, nil
}
