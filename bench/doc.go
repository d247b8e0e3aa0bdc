// SPDX-License-Identifier: GPL-2.0-only

// Package bench measures how many packets a second one core of a router
// forwards, with the router being any of several devices under test.
//
// # Topology
//
// Each device has three network namespaces of its own, joined by two veth
// pairs:
//
//	gen: gen0 ── enp66s0f0np0 :dut: enp1s0 ── sink0 :sink
//
// The middle one has L2's interface names, so that L2's ruleset applies: from
// a trusted high-speed link out by the WAN, where it masquerades. The
// namespaces have no names and end with the process, however it ends.
//
// # Who runs where
//
// The generator is an XDP program that runs in live-frame mode of
// BPF_PROG_TEST_RUN, on CPU 0. The frames go into the ring of the router's
// veth, whose NAPI is a kernel thread bound to CPU 1: the packet core. A frame
// that finds the ring full is lost before it costs the router anything, so the
// generator, which is faster than any router here, keeps the packet core busy
// all the time. What the thread does is what is measured: receive, decide,
// rewrite, hand to the far veth.
//
// The receiver's NAPI is left a softirq: it runs on the packet core too, where
// the router hands it the packets, as a NIC's transmit completion would. Its
// cost, the same for every frame that is redirected, is part of each figure and
// brings ratios a little nearer to one. A thread on the generator's CPU instead
// takes turns with the generator there, and neither keeps up with the router.
//
// With more than one packet core, interfaces have a queue for each, with a generator and
// a thread of its own. The kernel chooses the queue of a veth by the sending CPU, so that a
// generator's packets, and the flows that are its share, stay on one core.
//
// # Method
//
// All devices are set up first, and flows established where the device keeps
// state: a few packets a millisecond, reflected by the receiver, until each
// flow has got its reply. Then the devices take turns, A B C A B C, each after
// a warm-up; packets are counted at the receiver by its XDP program. The rate is
// packets per second of the packet core, that is of the time that the thread
// ran, so that other work on the machine takes little away from it. Reported are
// the median, the spread between the quartiles and the ratios to bare redirect
// and nftables, paired by round, with a bootstrap confidence interval. A
// result that is too noisy, or where the router was not the bottleneck, is
// marked inconclusive. Packets sampled at the receiver must be what the device
// promises, or the run fails.
//
// # New flows
//
// Where it is measured how fast flows begin, each packet of the generator is of
// another flow, and the receiver sends it back: the router makes the entry,
// forwards the packet, sees the answer and forwards that. Before each repetition
// all flows are forgotten. The NAPI of the router's far interface is a thread on
// the packet core as well, and what is counted is answers at the generator.
//
// # Floods
//
// A rule drops what the generator makes, each packet of another flow. A TCP flow
// comes in by the same interface, and its rate tells whether the router keeps up:
// what it does not take in time finds the ring full, the flow's packets as well as
// the flood's.
package bench
