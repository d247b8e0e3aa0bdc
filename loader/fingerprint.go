// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Fingerprint is of the layout of the maps whose entries outlive a replacement:
// builds with the same one take each other's flows over as they are.
func Fingerprint() (string, error) {
	objects, err := objects()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range slices.Sorted(slices.Values(carriedMaps)) {
		for _, object := range objects {
			if m := object.Maps[name]; m != nil {
				fmt.Fprintln(h, name, m.Type, layoutOf(m.Key), layoutOf(m.Value))
				break // the others' are the same
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}
