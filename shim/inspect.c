/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on in the guest, for `ps` and `events`: processes, figures, and processes killed for lack of memory.
 *
 * Processes and figures are not looked at here: the agent's bytes, of a capped length, are passed on in a sealed memfd, and the command
 * decodes and checks them (shim/query.c). One WaitOom call is under way for the container's life; a guest that answers it
 * without end is heard ten times in a second and its lines in the log are limited.
 */
#include "shim/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/oom.h"

/* ---- answers in a memfd ---- */

static int answer_fd(const void *bytes, size_t len)
{
	cleanup_close int fd = memfd_create("caisson-answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_full(fd, bytes, len);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return take_fd(&fd);
}

/* Answer with @len bytes and be done with the connection */
static void finish_with(struct client *c, const void *bytes, size_t len)
{
	cleanup_close int fd = answer_fd(bytes, len);

	if (fd < 0) {
		client_refuse(c, EIO, "the monitor's answer: %s", err_reason(-fd));
		return;
	}
	(void)client_send(c, &(struct client_reply){.type = CONTROL_REPLY_DONE,
						    .fds = &fd,
						    .nfds = 1,
						    .payload_len = (uint32_t)len});
	client_close(c);
}

static void on_bytes(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;
	struct err err = {0};
	int r = agent_error(result, &err);

	if (r < 0) {
		client_on_answer(result, arg);
		return;
	}
	c->calls--;
	if (result->len > CONTROL_ANSWER_MAX)
		client_refuse(c, EPROTO, "the agent gave an answer of %zu bytes", result->len);
	else
		finish_with(c, result->payload, result->len);
}

static void ask_for_bytes(struct client *c, const char *method)
{
	if (c->shim->phase != SHIM_SERVING)
		client_refuse(c, ESRCH, "container not running");
	else
		client_wait(c, agent_ask(c->shim, method, on_bytes, c));
}

void handle_processes(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	ask_for_bytes(c, "Processes");
}

void handle_stats(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	ask_for_bytes(c, "Stats");
}

/* ---- who stands for the container's processes on the host ---- */

static int by_pid(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return x < y ? -1 : x > y;
}

void handle_pids(struct client *c, const struct control_request *request, int fd)
{
	int32_t pids[SHIM_CLIENTS_MAX + 1] = {0};
	size_t n = 0;

	(void)request;
	(void)fd;
	for (const struct client *other = c->shim->clients; other; other = other->next)
		if (other->exec_running && other->source.fd >= 0 && n < SHIM_CLIENTS_MAX)
			pids[n++] = other->standin;
	qsort(pids, n, sizeof(pids[0]), by_pid);
	finish_with(c, pids, n * sizeof(pids[0]));
}

/* ---- events ---- */

void handle_events(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	if (c->shim->phase != SHIM_SERVING) {
		client_refuse(c, ESRCH, "container not running");
		return;
	}
	if (!client_send(c, &(struct client_reply){.type = CONTROL_REPLY_DONE})) {
		client_close(c);
		return;
	}
	c->state = CLIENT_EVENTS;
}

static void show_kill(struct shim *s)
{
	struct err err = {0};
	int r = oom_show(s->cgroup_fd, s->guest_gone ? 0 : s->vmm.pid, &err);

	s->oom_shown_ms = io_now_ms();
	if (r == -ENOTSUP)
		log_debug("Engines do not see the kill: the container's cgroup on the host: %s",
			  err.msg);
	else if (r < 0 && !s->oom_hidden)
		log_warn("Engines do not see the kill: the container's cgroup on the host: %s",
			 err.msg);
	s->oom_hidden = r < 0;
}

static void on_show_timer(struct loop_timer *timer)
{
	show_kill(container_of(timer, struct shim, oom_show_timer));
}

/*
 * So that engines see it; of the first one before the container's end can be seen. Once a second is enough for them, and bounds
 * what a guest can cost: what comes sooner is one more a little later
 */
static void tell_engines(struct shim *s)
{
	uint64_t since = io_now_ms() - s->oom_shown_ms;

	if (s->cgroup_fd < 0)
		return;
	if (!s->oom_shown_ms || since >= SHIM_OOM_SHOWN_MS) {
		show_kill(s);
		return;
	}
	s->oom_show_timer.on_expire = on_show_timer;
	(void)loop_timer_arm(s->loop, &s->oom_show_timer, SHIM_OOM_SHOWN_MS - since);
}

void oom_note(struct shim *s, uint64_t kills)
{
	static struct log_ratelimit limit;
	struct client *next;

	if (kills <= s->oom_kills)
		return;
	s->oom_kills = kills;
	log_guest_warn(&limit,
		       "the guest ran out of memory and killed processes of the container (%llu so "
		       "far)",
		       (unsigned long long)kills);
	tell_engines(s);
	for (struct client *c = s->clients; c; c = next) {
		next = c->next;
		if (c->state == CLIENT_EVENTS &&
		    !client_send(c, &(struct client_reply){.type = CONTROL_REPLY_EVENT,
							   .code = CONTROL_EVENT_OOM}))
			client_close(c);
	}
}

static void on_oom(const struct ttrpc_result *result, void *arg)
{
	struct shim *s = arg;

	if (result->code != TTRPC_OK) {
		log_debug("No more is heard of the guest's memory: %s", result->message);
		return;
	}
	oom_note(s, agent_oom_kills(result, false));
	if (loop_timer_arm(s->loop, &s->oom_timer, SHIM_OOM_INTERVAL_MS) < 0)
		log_debug("No more is heard of the guest's memory: no timer");
}

static void on_oom_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, oom_timer);

	if (!s->guest_gone)
		(void)agent_wait_oom(s, s->oom_kills, on_oom, s);
}

void oom_start(struct shim *s)
{
	s->oom_timer.on_expire = on_oom_timer;
	if (agent_wait_oom(s, 0, on_oom, s) < 0)
		log_debug("Nothing is heard of the guest's memory");
}
