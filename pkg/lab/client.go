// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// answerTime is how long a check waits for one answer.
const answerTime = 5 * time.Second

// dial connects from a namespace. from may be the zero value.
func (l *Lab) dial(ctx context.Context, ns, network string, from, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := l.ns[ns].Do(func() (err error) {
		d := net.Dialer{Timeout: answerTime}
		switch {
		case !from.IsValid():
		case network == "udp":
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		default:
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		conn, err = d.DialContext(ctx, network, to.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ns, err)
	}
	return conn, nil
}

// httpClient returns a client whose connections start in a namespace.
func (l *Lab) httpClient(ns string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(addr)
			if err != nil {
				return nil, err
			}
			return l.dial(ctx, ns, "tcp", netip.AddrPort{}, to)
		},
	}}
}

// download gets the first size bytes of the stream and compares their hash with
// want, or with that of a stream made here when want is empty.
func (l *Lab) download(ctx context.Context, ns string, from netip.Addr, size int64, want string) error {
	url := fmt.Sprintf("http://%s/stream?bytes=%d", netip.AddrPortFrom(from, portHTTP), size)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := l.httpClient(ns).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, resp.Body)
	if err != nil {
		return fmt.Errorf("%s: after %d bytes: %w", url, n, err)
	}
	if want == "" {
		expect := sha256.New()
		_ = writeStream(expect, size) // a hash takes everything
		want = hex.EncodeToString(expect.Sum(nil))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); n != size || got != want {
		return fmt.Errorf("%s: %d bytes with sha256 %s, want %d with %s", url, n, got, size, want)
	}
	return nil
}

// upload posts the first size bytes of the stream and compares the hash that the
// server answers with.
func (l *Lab) upload(ctx context.Context, ns string, to netip.Addr, size int64) error {
	var body bytes.Buffer
	if err := writeStream(&body, size); err != nil {
		return err
	}
	sum := sha256.Sum256(body.Bytes())
	url := fmt.Sprintf("http://%s/sink", netip.AddrPortFrom(to, portHTTP))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &body)
	if err != nil {
		return err
	}
	resp, err := l.httpClient(ns).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if want := hex.EncodeToString(sum[:]); string(got) != want {
		return fmt.Errorf("%s: the server got sha256 %q, want %s", url, got, want)
	}
	return nil
}

// reflect sends a datagram to an echo server and returns the address that the
// server saw. It asks again when no answer comes: one datagram proves nothing.
func reflect(conn net.Conn) (netip.AddrPort, error) {
	const text = "who am I?"
	var last error
	buf := make([]byte, 2048)
	for range 3 {
		if _, err := io.WriteString(conn, text); err != nil {
			return netip.AddrPort{}, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(answerTime / 3)); err != nil {
			return netip.AddrPort{}, err
		}
		n, err := conn.Read(buf)
		if last = err; err != nil {
			continue
		}
		addr, rest, _ := bytes.Cut(buf[:n], []byte("\n"))
		if string(rest) != text {
			return netip.AddrPort{}, fmt.Errorf("answer %q, want %q", rest, text)
		}
		return netip.ParseAddrPort(string(addr))
	}
	return netip.AddrPort{}, fmt.Errorf("no answer from %s: %w", conn.RemoteAddr(), last)
}
