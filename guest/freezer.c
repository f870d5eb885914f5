/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing a container: see guest/freezer.h. */
#include "guest/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/container.h"

#define EVENTS_MAX 4096

static void stop_watching(struct freezer *f)
{
	if (f->watching) {
		loop_del(&f->events);
		close_fd(&f->events.fd);
		loop_timer_release(&f->timer);
	}
	f->watching = false;
}

static void answer(struct freezer *f)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;

	ttrpc_reply_message(take_ptr(&f->call), &empty);
}

/* End a Freeze that is under way; @error 0: nobody is to blame */
static void give_up(struct container *container, enum ttrpc_code code, const char *why)
{
	struct freezer *f = &container->freezer;
	struct ttrpc_call *call = take_ptr(&f->call);

	stop_watching(f);
	work_cancel(&f->flush);
	if (call)
		ttrpc_reply_error(call, code, "%s", why);
}

/* ---- writing back ---- */

static int sync_all(int fd, void *arg)
{
	(void)fd;
	(void)arg;
	sync();
	return 0;
}

static void on_flushed(struct work *work, int error, const uint8_t *data, size_t len)
{
	struct container *container = container_of(work, struct container, freezer.flush);

	(void)data;
	(void)len;
	if (error == 0) {
		answer(&container->freezer);
		return;
	}
	(void)cgroup_freeze(container->cgroup_fd, false);
	give_up(container, TTRPC_INTERNAL, "what the container has written cannot be written back");
}

static void flush(struct container *container)
{
	struct freezer *f = &container->freezer;
	const struct work_job job = {.run = sync_all, .keep = -1};
	struct err err = {0};

	stop_watching(f);
	f->flush.on_done = on_flushed;
	if (work_start(&f->flush, container->agent->loop, &job, &err) < 0) {
		(void)cgroup_freeze(container->cgroup_fd, false);
		give_up(container, TTRPC_INTERNAL, err.msg);
	}
}

/* ---- freezing ---- */

/* Also re-arms the descriptor: it is ready again when the file's content has changed since it was read */
static bool is_frozen(const struct freezer *f)
{
	char text[EVENTS_MAX];
	ssize_t n = pread(f->events.fd, text, sizeof(text) - 1, 0);
	uint64_t frozen = 0;

	if (n <= 0)
		return false;
	text[n] = '\0';
	return cgroup_value(text, "frozen", &frozen) == 0 && frozen == 1;
}

static void on_events(struct loop_source *source, uint32_t events)
{
	struct container *container = container_of(source, struct container, freezer.events);

	(void)events;
	if (is_frozen(&container->freezer))
		flush(container);
}

static void on_timer(struct loop_timer *timer)
{
	struct container *container = container_of(timer, struct container, freezer.timer);

	(void)cgroup_freeze(container->cgroup_fd, false);
	give_up(container, TTRPC_DEADLINE_EXCEEDED,
		"processes of the container cannot be frozen within 30 seconds");
}

static int watch(struct container *container, struct err *err)
{
	struct freezer *f = &container->freezer;
	int r;

	f->events = (struct loop_source){.on_event = on_events};
	f->timer = (struct loop_timer){.on_expire = on_timer};
	f->events.fd = openat(container->cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (f->events.fd < 0)
		return err_sys(err, errno, "cannot open cgroup.events");
	f->watching = true;
	r = loop_add(container->agent->loop, &f->events, EPOLLPRI, err);
	if (r < 0)
		return r;
	r = loop_timer_arm(container->agent->loop, &f->timer, FREEZER_TIMEOUT_MS);
	if (r < 0)
		return err_sys(err, -r, "cannot set a timer");
	r = cgroup_freeze(container->cgroup_fd, true);
	return r < 0 ? err_sys(err, -r, "cannot freeze the container's cgroup") : 0;
}

void freezer_freeze(struct container *container, struct ttrpc_call *call)
{
	struct freezer *f = &container->freezer;
	struct err err = {0};

	if (container->state != CONTAINER_CREATED && container->state != CONTAINER_RUNNING) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "container not running");
		return;
	}
	if (f->call) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "the container is being paused");
		return;
	}
	f->call = call;
	if (watch(container, &err) < 0) {
		(void)cgroup_freeze(container->cgroup_fd, false);
		give_up(container, TTRPC_INTERNAL, err.msg);
		return;
	}
	if (is_frozen(f))
		flush(container);
}

void freezer_thaw(struct container *container, struct ttrpc_call *call)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	int r = cgroup_freeze(container->cgroup_fd, false);

	give_up(container, TTRPC_FAILED_PRECONDITION, "the container was resumed meanwhile");
	if (r < 0)
		ttrpc_reply_error(call, TTRPC_INTERNAL, "cannot thaw the container's cgroup: %s",
				  err_reason(-r));
	else
		ttrpc_reply_message(call, &empty);
}

void freezer_release(struct container *container)
{
	give_up(container, TTRPC_FAILED_PRECONDITION, "container not running");
}
