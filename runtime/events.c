/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson events`: the figures of the container's cgroup in the guest, once or at intervals, and a line whenever the guest has
 * killed processes of it for lack of memory; until the container ends.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/duration.h"
#include "runtime/events_json.h"

#define INTERVAL_DEFAULT "5s"

struct events_options {
	const char *interval;
	bool stats;
};

static const struct cli_option options[] = {
	{"interval", 0, CLI_STRING, offsetof(struct events_options, interval),
	 "set the stats collection interval (default: " INTERVAL_DEFAULT ")"},
	{"stats", 0, CLI_BOOL, offsetof(struct events_options, stats),
	 "display the container's stats then exit"},
	{0},
};

static int interval_ms(const char *text, uint64_t *out, struct err *err)
{
	int64_t ns;

	if (duration_parse(text ? text : INTERVAL_DEFAULT, &ns) < 0)
		return err_set(err, CLI_USAGE,
			       "invalid value \"%.100s\" for flag -interval: parse error", text);
	if (ns <= 0)
		return err_set(err, EINVAL, "duration interval must be greater than 0");
	*out = ns < 1000000 ? 1 : (uint64_t)ns / 1000000;
	return 0;
}

static int print(const char *type, const struct container *container,
		 const struct control_stats *stats, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = events_json(type, container->id, stats, &text, err);

	if (n < 0)
		return (int)n;
	(void)puts(text);
	return fflush(stdout) != 0 ? err_sys(err, errno, "writing to standard output") : 0;
}

static int print_stats(const struct container *container, struct err *err)
{
	struct control_stats stats;
	int r = control_stats(container->dir_fd, &stats, err);

	if (r < 0)
		return r;
	r = print("stats", container, &stats, err);
	control_stats_release(&stats);
	return r;
}

/* Return: 1 to go on, -errno when nothing can be printed any more */
static int on_tick(const struct container *container, struct err *err)
{
	int r = print_stats(container, err);

	/* It has ended: the end of the connection says so, after the event that it may have ended by */
	if (r == -ECONNREFUSED || r == -ESRCH || r == -EPIPE)
		return 1;
	/* The next one may be better */
	if (r == -EPROTO || r == -ETIMEDOUT) {
		log_error("%s", err->msg);
		return 1;
	}
	return r < 0 ? r : 1;
}

static int follow(const struct container *container, uint64_t interval, struct err *err)
{
	cleanup_close int fd = control_events_open(container->dir_fd, err);
	uint64_t next = io_now_ms() + interval;
	int r = 1;

	if (fd < 0)
		return fd;
	while (r > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = io_now_ms(), left = next > now ? next - now : 0;
		int n = poll(&p, 1, left < INT_MAX ? (int)left : INT_MAX);

		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "waiting for events");
		if (n > 0) {
			r = control_events_next(fd, err);
			if (r == 1)
				r = print("oom", container, NULL, err) < 0 ? -EIO : 1;
		} else if (n == 0 && io_now_ms() >= next) {
			next += interval;
			if (next < io_now_ms()) /* ticks that were missed are not made up for */
				next = io_now_ms() + interval;
			r = on_tick(container, err);
		}
	}
	return r;
}

static int events_of(const struct container *container, const struct events_options *given,
		     struct err *err)
{
	uint64_t interval = 0;
	int r = interval_ms(given->interval, &interval, err);

	if (r < 0)
		return r;
	if (container->status == OCI_STOPPED)
		return err_set(err, EINVAL, "container with id %s is not running", container->id);
	r = given->stats ? print_stats(container, err) : follow(container, interval, err);
	if (r == -ECONNREFUSED || r == -ESRCH)
		return err_set(err, EINVAL, "container with id %s is not running", container->id);
	return r;
}

static int run_events(const struct globals *globals, const void *opaque,
		      const struct cli_args *args, struct err *err)
{
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	if (r < 0)
		return r;
	r = events_of(&container, opaque, err);
	container_release(&container);
	return r;
}

const struct cli_command command_events = {
	.name = "events",
	.summary = "display container events such as OOM notifications, cpu, memory, and IO usage "
		   "statistics",
	.usage = "<container-id>",
	.description = "The events command displays information about the container, as its guest "
		       "sees it. By default the\n"
		       "   information is displayed once every 5 seconds.",
	.options = options,
	.options_size = sizeof(struct events_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_events,
};
