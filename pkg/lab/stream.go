// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
)

// DownloadSize is the size of the download check, in bytes.
const DownloadSize = 200_000_000

// downloadSHA256 is the hash of the first DownloadSize bytes of the stream.
const downloadSHA256 = "56f7058402d60f93fb49de0a3e1b0ca6b55631c6fc8ffc7e0bbad5851dee633e"

// streamChunk is how many bytes of the stream share one number.
const streamChunk = 64 * 1024

var streamBase = sync.OnceValue(func() []byte {
	var seed [32]byte
	copy(seed[:], "the same stream on every machine")
	base := make([]byte, streamChunk)
	_, _ = rand.NewChaCha8(seed).Read(base) // never fails
	return base
})

// writeStream writes the first size bytes of a stream that is the same everywhere
// and costs next to nothing to make: one pseudo-random chunk again and again, each
// time with its own number at the front.
func writeStream(w io.Writer, size int64) error {
	chunk := append([]byte(nil), streamBase()...)
	for n := uint64(0); size > 0; n++ {
		binary.BigEndian.PutUint64(chunk, n)
		part := chunk[:min(size, streamChunk)]
		if _, err := w.Write(part); err != nil {
			return err
		}
		size -= int64(len(part))
	}
	return nil
}
