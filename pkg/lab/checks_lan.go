// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// iperfSeconds is the length of one run of iperf3. Figures are for the eye: a
// check is no benchmark.
const iperfSeconds = "2"

// maxUDPLoss is the share of datagrams, in per cent, that iperf3 may lose in its
// socket buffers. The router's own losses show in the check with the flows.
const maxUDPLoss = 5

func lanChecks() []Check {
	const group = "LAN to Internet"
	return slices.Concat(
		both(group, "ping", "echo through NAT, whole and in fragments", checkPing),
		both(group, "ping the router", "echo to the router itself", checkPingRouter),
		both(group, "HTTP 200 MB", "download through NAT, sha256 equal", checkDownload),
		both(group, "iperf3 TCP", "up and down", checkIperfTCP),
		both(group, "iperf3 UDP", "10 Mbit/s up and down", checkIperfUDP),
		both(group, "DNS UDP", "question, answer; a long answer is truncated", checkDNSUDP),
		both(group, "DNS TCP", "question, long answer", checkDNSTCP),
		both(group, "NAT ports", "the port is kept; two clients with the same one both work", checkPorts),
		both(group, "STUN", "two clients with the same port are each seen as one end by two servers", checkSTUN),
		both(group, "SSH from the LAN", "the router's SSH accepts an internal client", checkSSH),
		both(group, "router's own", "ping, DNS and download of the router itself", checkRouterOwn),
	)
}

func checkPing(ctx context.Context, t *trial, family int) error {
	server := AddrServer.Of(family)
	return t.decidedBy(ctx, func() error {
		if err := t.ping(ctx, Client1, server, 3, 56); err != nil {
			return err
		}
		return t.ping(ctx, Client1, server, 2, 4000)
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

func checkPingRouter(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error {
		if err := t.ping(ctx, Client1, AddrRouterLAN.Of(family), 3, 56); err != nil {
			return err
		}
		return t.ping(ctx, Client2, AddrRouterWAN.Of(family), 3, 56)
	}, pick(family, inLAN4, inLAN6))
}

// ping sends echo requests with the ping program; all must be answered.
func (t *trial) ping(ctx context.Context, ns string, to netip.Addr, count, size int) error {
	_, err := t.run(ctx, ns, "", "ping", "-n", "-q", "-c", fmt.Sprint(count), "-i", "0.2", "-W", "5", "-s", fmt.Sprint(size), to.String())
	return err
}

func checkDownload(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error {
		begin := time.Now()
		err := t.download(ctx, Client1, AddrServer.Of(family), DownloadSize, downloadSHA256)
		t.note("%.0f Mbit/s", DownloadSize*8/1e6/time.Since(begin).Seconds())
		return err
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

func checkIperfTCP(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error {
		for _, direction := range [][]string{nil, {"-R"}} {
			out, err := t.iperf(ctx, Client1, AddrServer.Of(family), direction...)
			if err != nil {
				return err
			}
			if out.End.Received.Bytes == 0 {
				return fmt.Errorf("iperf3 %v: nothing received", direction)
			}
			t.note("%.0f Mbit/s%s", out.End.Received.BitsPerSecond/1e6, strings.Join(direction, " "))
		}
		return nil
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

func checkIperfUDP(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error {
		for _, direction := range [][]string{nil, {"-R"}} {
			// A test machine that is busy elsewhere may overrun a socket's buffer, but
			// hardly three times.
			var err error
			for range 3 {
				if err = t.iperfUDP(ctx, AddrServer.Of(family), direction); err == nil {
					break
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

func (t *trial) iperfUDP(ctx context.Context, server netip.Addr, direction []string) error {
	out, err := t.iperf(ctx, Client1, server, append([]string{"-u", "-b", "10M", "-l", "1200"}, direction...)...)
	if err != nil {
		return err
	}
	sum := out.End.Sum
	if sum.Packets == 0 || sum.LostPercent > maxUDPLoss {
		return fmt.Errorf("iperf3 -u %v: %d datagrams, %.1f %% lost, want at most %d %%", direction, sum.Packets, sum.LostPercent, maxUDPLoss)
	}
	t.note("%d datagrams, %d lost%s", sum.Packets, sum.LostPackets, strings.Join(direction, " "))
	return nil
}

// iperfResult is the part of iperf3's JSON that the checks read.
type iperfResult struct {
	Error string `json:"error"`
	End   struct {
		Received struct {
			Bytes         uint64  `json:"bytes"`
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
		Sum struct {
			Packets     int     `json:"packets"`
			LostPackets int     `json:"lost_packets"`
			LostPercent float64 `json:"lost_percent"`
		} `json:"sum"`
	} `json:"end"`
}

func (t *trial) iperf(ctx context.Context, ns string, to netip.Addr, args ...string) (iperfResult, error) {
	argv := append([]string{"iperf3", "-J", "-c", to.String(), "-p", fmt.Sprint(portIperf), "-t", iperfSeconds}, args...)
	var result iperfResult
	// The server takes one client at a time, and a moment to notice that it has gone.
	err := poll(ctx, answerTime, func() error {
		out, runErr := t.run(ctx, ns, "", argv...)
		result = iperfResult{}
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			return fmt.Errorf("%s: %w: %w", strings.Join(argv, " "), runErr, err)
		}
		if result.Error != "" {
			return fmt.Errorf("%s: %s", strings.Join(argv, " "), result.Error)
		}
		return runErr
	})
	return result, err
}

func checkDNSUDP(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error { return t.dnsUDP(ctx, Client1, AddrServer.Of(family)) }, pick(family, fwOut4, fwOut6), fwReturn)
}

func checkDNSTCP(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error {
		conn, err := t.dial(ctx, Client1, "tcp", netip.AddrPort{}, netip.AddrPortFrom(AddrServer.Of(family), portDNS))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
			return err
		}
		reply, err := dnsExchange(conn, dnsmessage.TypeTXT, func(c net.Conn, q []byte) ([]byte, error) {
			if err := writeDNS(c, q); err != nil {
				return nil, err
			}
			return readDNS(c)
		})
		if err != nil {
			return err
		}
		if reply.Truncated || len(reply.Answers) != dnsTXTCount {
			return fmt.Errorf("%d records over TCP, truncated %v, want %d", len(reply.Answers), reply.Truncated, dnsTXTCount)
		}
		return nil
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

// dnsUDP asks for an address and for an answer that does not fit.
func (t *trial) dnsUDP(ctx context.Context, ns string, server netip.Addr) error {
	conn, err := t.dial(ctx, ns, "udp", netip.AddrPort{}, netip.AddrPortFrom(server, portDNS))
	if err != nil {
		return err
	}
	defer conn.Close()
	ask := func(c net.Conn, q []byte) ([]byte, error) {
		if _, err := c.Write(q); err != nil {
			return nil, err
		}
		buf := make([]byte, 1500)
		if err := c.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
			return nil, err
		}
		n, err := c.Read(buf)
		return buf[:n], err
	}
	reply, err := dnsExchange(conn, dnsmessage.TypeA, ask)
	if err != nil {
		return err
	}
	if len(reply.Answers) != 1 {
		return fmt.Errorf("%d answers, want 1", len(reply.Answers))
	}
	if a, ok := reply.Answers[0].Body.(*dnsmessage.AResource); !ok || a.A != dnsAnswer.As4() {
		return fmt.Errorf("answer %v, want %s", reply.Answers[0].Body, dnsAnswer)
	}
	if reply, err = dnsExchange(conn, dnsmessage.TypeTXT, ask); err != nil {
		return err
	}
	if !reply.Truncated {
		return fmt.Errorf("a long answer over UDP is not truncated")
	}
	return nil
}

func dnsExchange(conn net.Conn, kind dnsmessage.Type, ask func(net.Conn, []byte) ([]byte, error)) (dnsmessage.Message, error) {
	query := dnsmessage.Message{
		Header: dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName("www.example.org."), Type: kind, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := query.Pack()
	if err != nil {
		return query, err
	}
	answer, err := ask(conn, packed)
	if err != nil {
		return query, fmt.Errorf("ask %s: %w", conn.RemoteAddr(), err)
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(answer); err != nil {
		return reply, err
	}
	if reply.ID != query.ID {
		return reply, fmt.Errorf("answer to question %d, want %d", reply.ID, query.ID)
	}
	return reply, nil
}

// checkPorts lets two clients use the same source port to the same server: the
// first keeps it, the second gets another, and both have their answers.
func checkPorts(ctx context.Context, t *trial, family int) error {
	const port = 40000
	wan := AddrRouterWAN.Of(family)
	server := netip.AddrPortFrom(AddrServer.Of(family), portEcho)
	return t.decidedBy(ctx, func() error {
		for _, network := range []string{"udp", "tcp"} {
			var seen []netip.AddrPort
			for _, client := range []struct {
				ns   string
				addr Pair
			}{{Client1, AddrClient1}, {Client2, AddrClient2}} {
				conn, err := t.dial(ctx, client.ns, network, netip.AddrPortFrom(client.addr.Of(family), port), server)
				if err != nil {
					return fmt.Errorf("%s port %d: %w", network, port, err)
				}
				defer conn.Close()
				if network == "tcp" {
					if err := echoTCP(conn); err != nil {
						return fmt.Errorf("%s: %w", client.ns, err)
					}
					continue
				}
				from, err := reflect(conn)
				if err != nil {
					return fmt.Errorf("%s: %w", client.ns, err)
				}
				seen = append(seen, from)
			}
			if network == "tcp" {
				continue
			}
			if seen[0] != netip.AddrPortFrom(wan, port) {
				return fmt.Errorf("the server sees %s, want %s", seen[0], netip.AddrPortFrom(wan, port))
			}
			if seen[1].Addr() != wan || seen[1].Port() == port {
				return fmt.Errorf("the server sees the second client as %s, want %s with another port", seen[1], wan)
			}
			t.note("second client: port %d", seen[1].Port())
		}
		return nil
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

// checkSTUN has two clients ask two servers which end they see: what one says is
// true for the other, also of the client that does not have its own port.
func checkSTUN(ctx context.Context, t *trial, family int) error {
	const port = 33480
	var ends []netip.AddrPort
	for _, client := range []struct {
		ns   string
		addr Pair
	}{{Client1, AddrClient1}, {Client2, AddrClient2}} {
		var seen []netip.AddrPort
		for _, server := range []Pair{AddrServer, AddrPMTU, AddrServer} {
			from, to := netip.AddrPortFrom(client.addr.Of(family), port), netip.AddrPortFrom(server.Of(family), portEcho)
			conn, err := t.dial(ctx, client.ns, "udp", from, to)
			if err != nil {
				return err
			}
			end, err := reflect(conn)
			if err := errors.Join(err, conn.Close()); err != nil {
				return fmt.Errorf("%s: %w", client.ns, err)
			}
			seen = append(seen, end)
		}
		if slices.Contains(ends, seen[0]) || len(slices.Compact(seen)) != 1 {
			return fmt.Errorf("%s is seen as %v, after %v", client.ns, seen, ends)
		}
		ends = append(ends, seen[0])
	}
	t.note("%s and %s", ends[0], ends[1])
	return nil
}

// echoTCP sends a line to an echo server and reads it back.
func echoTCP(conn net.Conn) error {
	const text = "the same port\n"
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	if string(buf) != text {
		return fmt.Errorf("echo %q, want %q", buf, text)
	}
	return nil
}

func checkSSH(ctx context.Context, t *trial, family int) error {
	return t.decidedBy(ctx, func() error { return t.ssh(ctx, Client1, AddrRouterLAN.Of(family)) }, pick(family, inLAN4, inLAN6))
}

// ssh connects to the router's SSH and waits for its greeting.
func (t *trial) ssh(ctx context.Context, ns string, router netip.Addr) error {
	conn, err := t.dial(ctx, ns, "tcp", netip.AddrPort{}, netip.AddrPortFrom(router, portSSH))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	buf := make([]byte, len(sshBanner))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	if string(buf) != sshBanner {
		return fmt.Errorf("greeting %q, want %q", buf, sshBanner)
	}
	return nil
}

func checkRouterOwn(ctx context.Context, t *trial, family int) error {
	server := AddrServer.Of(family)
	return t.decidedBy(ctx, func() error {
		if err := t.ping(ctx, Router, server, 2, 56); err != nil {
			return err
		}
		if err := t.dnsUDP(ctx, Router, server); err != nil {
			return err
		}
		return t.download(ctx, Router, server, 2_000_000, "")
	}, outRest, inReturn)
}
