/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a container ends, and how a guest that does not behave is found out.
 *
 *   SERVING ──Wait answered──▶ DRAINING ──all output delivered──▶ SHUTTING_DOWN ──vmm ended, or given up──▶ quit
 *      │                          ▲                                    ▲
 *      ├──guest died──────────────┘ (then quit: nothing to shut down)  │
 *      └──STOP: kill, at most 5 s, no waiting for readers──────────────┘
 *
 * Draining ends when every output stream has ended and every exec's stand-in has gone. A reader on the host that is slow or
 * stopped is waited for as long as it keeps its pipe open, because the bytes are lost otherwise (with runc they would wait in
 * the pipe); a guest that neither sends nor ends its streams is given up after 10 s.
 *
 * The status is the container's own, 128+n for a signal. A guest that dies before it could say how the container ended, or
 * with output not delivered, is a failure: one sentence in the log and in the state directory, exit code 255.
 *
 * Shutting down the guest writes back what its page cache holds of shared mappings, which may take long on a slow disk: it is
 * waited for as long as the agent answers Pings, at most SHIM_SHUTDOWN_TIMEOUT_MS (5 s after STOP). A guest that is
 * given up then may have lost data, which is an error in the log; the status stays the container's own.
 *
 * Heartbeat: a Ping every 10 s, one at a time. A guest hangs when it has not answered for three ticks of our own timer: not a
 * deadline in time, so that a host which was asleep, or a monitor that was stopped, comes back without killing anything.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

static void quit(struct shim *s)
{
	loop_quit(s->loop, 0);
}

/* ---- shutting down ---- */

static void give_up(struct shim *s, const char *why)
{
	log_error(
		"The guest does not end: %s; it is killed, and what it had not yet written to its "
		"files may be lost",
		why);
	quit(s);
}

static void on_end_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, end_timer);

	give_up(s, s->stopping ? "it was to be ended by force" : "it took too long");
}

static int arm_end_timer(struct shim *s)
{
	s->end_timer.on_expire = on_end_timer;
	return loop_timer_arm(s->loop, &s->end_timer,
			      s->stopping ? SHIM_STOP_TIMEOUT_MS : SHIM_SHUTDOWN_TIMEOUT_MS);
}

static void shut_down(struct shim *s)
{
	if (s->phase == SHIM_SHUTTING_DOWN)
		return;
	s->phase = SHIM_SHUTTING_DOWN;
	if (s->guest_gone)
		quit(s);
	else if (agent_shutdown(s) < 0)
		give_up(s, "the agent is gone");
	else if (arm_end_timer(s) < 0)
		give_up(s, "no timer can be set");
}

/* ---- draining ---- */

void end_check(struct shim *s)
{
	if (s->phase != SHIM_DRAINING)
		return;
	if (s->stopping || (stdio_is_drained(s) && (s->guest_gone || !server_has_execs(s))))
		shut_down(s);
}

static void on_drain_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, stdio.drain_timer);
	uint64_t progress = stdio_progress(s);

	if (s->phase != SHIM_DRAINING)
		return;
	if (!stdio_is_stalled(s) && progress == s->stdio.drained_bytes) {
		log_debug("The container has ended, its output streams have not: giving them up");
		shut_down(s);
		return;
	}
	s->stdio.drained_bytes = progress;
	(void)loop_timer_arm(s->loop, timer, SHIM_DRAIN_TIMEOUT_MS);
}

static void drain(struct shim *s)
{
	s->phase = SHIM_DRAINING;
	s->stdio.drained_bytes = stdio_progress(s);
	s->stdio.drain_timer.on_expire = on_drain_timer;
	if (loop_timer_arm(s->loop, &s->stdio.drain_timer, SHIM_DRAIN_TIMEOUT_MS) < 0)
		log_error("The monitor cannot set a timer");
	end_check(s);
}

void end_on_exit(struct shim *s, int status)
{
	if (s->exited || s->failed)
		return;
	log_debug("The container's process has ended with status %d", status);
	s->exited = true;
	s->status = status;
	if (s->phase == SHIM_SERVING)
		drain(s);
}

/* ---- failures ---- */

static void note_failure(struct shim *s, const char *text)
{
	if (s->failed)
		return;
	s->failed = true;
	s->status = SHIM_EXIT_GUEST_DIED;
	log_error("%s", text);
	if (s->failure_fd >= 0)
		(void)io_write_full(s->failure_fd, text, strlen(text));
}

static const char *guest_sentence(char *out, size_t size, const char *text)
{
	snprintf(out, size, "the guest died: %s", text);
	return out;
}

void end_on_guest_gone(struct shim *s)
{
	char text[sizeof(s->guest_text) + 64];

	switch (s->phase) {
	case SHIM_CREATING:
		return; /* shim_wait() or end_begin() sees it */
	case SHIM_SERVING:
		if (!s->stopping)
			note_failure(s, guest_sentence(text, sizeof(text), s->guest_text));
		drain(s);
		return;
	case SHIM_DRAINING:
		/* Streams end with the vmm; what was not delivered before is the guest's fault */
		if (!s->stopping && !stdio_is_drained(s))
			note_failure(s, guest_sentence(text, sizeof(text), s->guest_text));
		end_check(s);
		return;
	case SHIM_SHUTTING_DOWN:
		quit(s);
		return;
	}
}

void end_guest_failed(struct shim *s, const char *fmt, ...)
{
	char what[VMM_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (s->guest_gone)
		return;
	snprintf(s->guest_text, sizeof(s->guest_text), "%s", what);
	s->guest_gone = true;
	/* The streams end as the vmm does; its source is off, so the end is told here */
	guest_stop(s);
	end_on_guest_gone(s);
}

void end_begin(struct shim *s)
{
	s->phase = SHIM_SERVING;
	if (s->exited)
		drain(s);
	else if (s->guest_gone)
		end_on_guest_gone(s);
	else if (!s->agent)
		agent_is_gone(s);
}

static void on_stop_timer(struct loop_timer *timer)
{
	quit(container_of(timer, struct shim, end_timer));
}

void end_on_stop(struct shim *s)
{
	if (s->stopping)
		return; /* asking again does not begin anew */
	s->stopping = true;
	if (!s->exited && !s->failed)
		s->status = SHIM_EXIT_KILLED;
	if (s->phase == SHIM_SHUTTING_DOWN) {
		if (arm_end_timer(s) < 0)
			quit(s);
		return;
	}
	if (s->phase == SHIM_DRAINING) {
		end_check(s);
		return;
	}
	s->end_timer.on_expire = on_stop_timer;
	if (loop_timer_arm(s->loop, &s->end_timer, SHIM_STOP_TIMEOUT_MS) < 0 ||
	    agent_signal(s, "", 9, true, NULL, NULL) < 0)
		quit(s);
}

/* ---- heartbeat ---- */

static void on_pong(const struct ttrpc_result *result, void *arg)
{
	struct shim *s = arg;

	if (result->code == TTRPC_UNAVAILABLE)
		return;
	s->ping_pending = false;
	s->pings_missed = 0;
}

static void guest_hangs(struct shim *s)
{
	unsigned int seconds = SHIM_PING_MISSED_MAX * s->ping_interval_s;
	char activity[64], why[128];

	snprintf(why, sizeof(why), "no sign of life for %u seconds%s", seconds,
		 guest_activity(s, activity, sizeof(activity)));
	if (s->phase == SHIM_SHUTTING_DOWN)
		give_up(s, why);
	else
		end_guest_failed(s, "it hangs: %s", why);
}

static void on_ping_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, ping_timer);

	if (s->guest_gone)
		return;
	/* Without its connection the agent cannot answer either; before, agent_is_gone() sees to that */
	if (s->ping_pending || (!s->agent && s->phase == SHIM_SHUTTING_DOWN)) {
		if (++s->pings_missed >= SHIM_PING_MISSED_MAX) {
			guest_hangs(s);
			return;
		}
	} else {
		int r = agent_ping(s, on_pong, s);

		if (!s->pings_missed)
			guest_note_ticks(s);
		s->ping_pending = r == 0;
		/* No room for one more question: that many without an answer are no sign of life either */
		if (r == -EBUSY && ++s->pings_missed >= SHIM_PING_MISSED_MAX) {
			guest_hangs(s);
			return;
		}
	}
	(void)loop_timer_arm(s->loop, timer, s->ping_interval_s * 1000ull);
}

int heartbeat_start(struct shim *s, struct err *err)
{
	int r;

	s->ping_interval_s = s->args->heartbeat_s;
	s->ping_timer.on_expire = on_ping_timer;
	r = loop_timer_arm(s->loop, &s->ping_timer, s->ping_interval_s * 1000ull);
	return r < 0 ? err_sys(err, -r, "the heartbeat") : 0;
}
