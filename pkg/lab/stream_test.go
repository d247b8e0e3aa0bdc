// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestStreamHash(t *testing.T) {
	hash := sha256.New()
	if err := writeStream(hash, DownloadSize); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != downloadSHA256 {
		t.Errorf("sha256 of the stream is %s, want %s", got, downloadSHA256)
	}
}
