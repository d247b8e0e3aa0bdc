/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "control.h"

/*
 * What happens to a connection. Each is a function of the state alone, which has the
 * connection and the ACK in it: the kernel's callbacks and the tests' simulator drive
 * the same.
 */

/* OnInit */
STAGE bbr3_init(struct bbr3 *b)
{
	if (!b)
		return 0;
	b->min_rtt = b->c.srtt ? b->c.srtt : NO_RTT;
	b->min_rtt_stamp = b->c.now;
	b->probe_rtt_min = b->min_rtt;
	b->probe_rtt_min_stamp = b->c.now;
	b->extra_acked_start = b->c.now;
	b->inflight_longterm = NO_INFLIGHT;
	b->probe_up_acked_per_inc = NO_INFLIGHT;
	b->ecn_alpha = PER_MILLE;
	b->next_round_delivered = b->c.delivered;
	b->loss_round_delivered = b->c.delivered;
	b->alpha_delivered = b->c.delivered;
	b->alpha_delivered_ce = b->c.delivered_ce;
	b->undo_state = BBR3_NONE;
	reset_shortterm(b);
	enter_startup(b);
	set_gains(b);
	init_pacing_rate(b);
	set_send_quantum(b);
	return 0;
}

/* UpdateOnACK, after HandleLostPacket for what the ACK has marked */
STAGE bbr3_ack(struct bbr3 *b)
{
	if (!b)
		return 0;
	if (b->rs.newly_lost)
		bbr3_lost(b);
	bbr3_update_max_bw(b);
	update_latest(b);
	bbr3_update_ecn(b);
	bbr3_adapt_lower_bounds(b);
	bbr3_update_extra_acked(b);
	check_full_bw(b);
	bbr3_check_startup(b);
	bbr3_update_cycle(b);
	bbr3_update_rtt(b);
	advance_latest(b);
	b->bw = min(max_bw(b), b->bw_shortterm);
	return bbr3_update_control(b);
}

/* HandleRestartFromIdle: before the first packet when nothing is in flight */
STAGE bbr3_transmit_start(struct bbr3 *b)
{
	if (!b || !b->c.app_limited)
		return 0;
	b->idle_restart = 1;
	b->extra_acked_start = b->c.now;
	b->extra_acked_delivered = 0;
	if (in_probe_bw(b))
		set_pacing_rate(b, GAIN_UNIT);
	else if (b->state == BBR3_PROBE_RTT)
		check_probe_rtt_done(b);
	return 0;
}

/* OnEnterFastRecovery and OnEnterRTO */
STAGE bbr3_enter_recovery(struct bbr3 *b)
{
	if (!b)
		return 0;
	save_state(b);
	return 0;
}

STAGE bbr3_exit_recovery(struct bbr3 *b)
{
	if (b)
		restore_cwnd(b);
	return 0;
}

/* A tail loss probe has repaired the loss of one packet. */
STAGE bbr3_tail_lost(struct bbr3 *b)
{
	if (!b)
		return 0;
	b->marked.size = 1;
	b->marked.lost = 1;
	b->marked.tx_in_flight = b->inflight_latest + 1;
	b->marked.is_app_limited = 0;
	return bbr3_lost(b);
}
