/* SPDX-License-Identifier: Apache-2.0 */
/* Processes killed for lack of memory: see guest/oom.h. */
#include "guest/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/container.h"

#define EVENTS_MAX 4096

static void answer(struct oom *oom)
{
	Caisson__Agent__WaitOomResponse response = CAISSON__AGENT__WAIT_OOM_RESPONSE__INIT;

	if (!oom->call || oom->kills <= oom->call_seen)
		return;
	response.kills = oom->kills;
	ttrpc_reply_message(take_ptr(&oom->call), &response);
}

static void fail(struct oom *oom, const char *why)
{
	struct ttrpc_call *call = take_ptr(&oom->call);

	if (call)
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "%s", why);
}

void oom_check(struct container *container)
{
	struct oom *oom = &container->oom;
	char text[EVENTS_MAX];
	uint64_t kills = 0;
	ssize_t n;

	if (!oom->events.loop)
		return;
	/* Reading also re-arms the descriptor */
	n = pread(oom->events.fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return;
	text[n] = '\0';
	if (cgroup_value(text, "oom_kill", &kills) == 0 && kills > oom->kills)
		oom->kills = kills;
	answer(oom);
}

static void on_events(struct loop_source *source, uint32_t events)
{
	(void)events;
	oom_check(container_of(source, struct container, oom.events));
}

void oom_watch(struct container *container)
{
	struct oom *oom = &container->oom;
	struct err err = {0};

	oom->events = (struct loop_source){.on_event = on_events};
	oom->events.fd = openat(container->cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	if (oom->events.fd < 0) {
		log_warn("Cannot watch memory.events: %s, ignoring", err_reason(errno));
		return;
	}
	if (loop_add(container->agent->loop, &oom->events, EPOLLPRI, &err) < 0) {
		log_warn("Cannot watch memory.events: %s, ignoring", err.msg);
		close_fd(&oom->events.fd);
		return;
	}
	oom_check(container);
}

void oom_wait(struct container *container, uint64_t seen, struct ttrpc_call *call)
{
	struct oom *oom = &container->oom;

	fail(oom, "another call waits for the same");
	oom->call = call;
	oom->call_seen = seen;
	answer(oom);
}

void oom_release(struct container *container)
{
	struct oom *oom = &container->oom;

	fail(oom, "the container is gone");
	if (!oom->events.loop)
		return;
	loop_del(&oom->events);
	close_fd(&oom->events.fd);
}
