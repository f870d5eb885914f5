/* SPDX-License-Identifier: Apache-2.0 */
/* The container's processes: see guest/ps.h, proc(5). */
#define _GNU_SOURCE
#include "guest/ps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#include "guest/cgroup.h"
#include "guest/child.h"
#include "guest/container.h"

#define STATUS_MAX 16384
#define NUMBERS_MAX 64

struct listing {
	struct ps_entry *items; /* owned */
	size_t n;
	size_t commands; /* bytes of command lines */
	unsigned int level;
	bool cut;
};

/* ---- one process ---- */

int ps_parse_stat(const char *text, long hz, long page, struct ps_entry *entry)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	int32_t pgrp, session, terminal, tpgid;
	uint64_t utime, stime, start, vsize;
	int64_t nice, threads, rss;
	char state;
	int n;

	if (!open || !close || close < open)
		return -EINVAL;
	n = sscanf(close + 1,
		   " %c %" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd32
		   " %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %*d %*d %*d %" SCNd64 " %" SCNd64
		   " %*d %" SCNu64 " %" SCNu64 " %" SCNd64,
		   &state, &entry->agent_parent, &pgrp, &session, &terminal, &tpgid, &utime, &stime,
		   &nice, &threads, &start, &vsize, &rss);
	if (n != 13 || hz <= 0)
		return -EINVAL;
	(void)snprintf(entry->name, sizeof(entry->name), "%.*s", (int)(close - open - 1), open + 1);
	entry->info.name = (ProtobufCBinaryData){.data = (uint8_t *)entry->name,
						 .len = strlen(entry->name)};
	entry->info.state = (uint8_t)state;
	entry->info.terminal = (uint32_t)terminal;
	entry->info.foreground = terminal && tpgid == pgrp;
	entry->info.cpu_ms = (utime + stime) * 1000 / (uint64_t)hz;
	entry->info.nice = (int32_t)nice;
	entry->info.threads = threads > 0 ? (uint32_t)threads : 0;
	entry->info.virtual_bytes = vsize;
	entry->info.resident_bytes = rss > 0 ? (uint64_t)rss * (uint64_t)page : 0;
	entry->start_ticks = start;
	return 0;
}

/* The number at @index of the line "@key: n n n …"; Return: false when the line has no so many */
static bool status_number(const char *text, const char *key, unsigned int index, uint64_t *out)
{
	const char *line = strstr(text, key);
	char *end;

	if (!line)
		return false;
	line += strlen(key);
	for (unsigned int i = 0; i < NUMBERS_MAX; i++) {
		line += strspn(line, " \t");
		if (*line < '0' || *line > '9')
			return false;
		*out = strtoull(line, &end, 10);
		if (i == index)
			return true;
		line = end;
	}
	return false;
}

int ps_parse_status(const char *text, unsigned int level, struct ps_entry *entry)
{
	uint64_t uid, gid, pid, number = 0;

	if (!status_number(text, "\nUid:", 1, &uid) || !status_number(text, "\nGid:", 1, &gid))
		return -EINVAL;
	if (!status_number(text, "\nNSpid:", level, &pid))
		return -ESRCH;
	entry->info.uid = (uint32_t)uid;
	entry->info.gid = (uint32_t)gid;
	entry->info.pid = (int32_t)pid;
	entry->info.group_id = status_number(text, "\nNSpgid:", level, &number) ? (int32_t)number
										: 0;
	entry->info.session_id = status_number(text, "\nNSsid:", level, &number) ? (int32_t)number
										 : 0;
	return 0;
}

/* A file of /proc/PID, NUL-terminated; Return: its length or -errno */
static ssize_t read_proc(pid_t pid, const char *name, char *out, size_t size)
{
	cleanup_close int fd = -1;
	char path[64];
	size_t len = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		ssize_t n = read(fd, out + len, size - 1 - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	out[len] = '\0';
	return (ssize_t)len;
}

static void read_command(struct listing *l, struct ps_entry *entry)
{
	char text[PS_COMMAND_MAX + 1];
	ssize_t n = read_proc(entry->agent_pid, "cmdline", text, sizeof(text));

	if (n <= 0)
		return;
	if (l->commands + (size_t)n > PS_COMMANDS_MAX) {
		l->cut = true;
		return;
	}
	entry->command = malloc((size_t)n);
	if (!entry->command)
		return;
	memcpy(entry->command, text, (size_t)n);
	entry->info.command = (ProtobufCBinaryData){.data = entry->command, .len = (size_t)n};
	l->commands += (size_t)n;
}

static void set_times(struct ps_entry *entry, long hz)
{
	struct timespec boot = {0}, real = {0};
	int64_t since_ms, now_ms;

	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	(void)clock_gettime(CLOCK_REALTIME, &real);
	now_ms = boot.tv_sec * 1000 + boot.tv_nsec / 1000000;
	since_ms = now_ms - (int64_t)(entry->start_ticks * 1000 / (uint64_t)hz);
	entry->info.elapsed_ms = since_ms > 0 ? (uint64_t)since_ms : 0;
	entry->info.start_s = real.tv_sec - (int64_t)(entry->info.elapsed_ms / 1000);
}

static void add_process(pid_t pid, void *arg)
{
	struct listing *l = arg;
	struct ps_entry *entry = &l->items[l->n];
	long hz = sysconf(_SC_CLK_TCK);
	char text[STATUS_MAX];

	if (l->n == PS_PROCESSES_MAX) {
		l->cut = true;
		return;
	}
	*entry = (struct ps_entry){.agent_pid = pid};
	caisson__agent__process_info__init(&entry->info);
	if (read_proc(pid, "stat", text, sizeof(text)) < 0 ||
	    ps_parse_stat(text, hz, sysconf(_SC_PAGESIZE), entry) < 0 ||
	    read_proc(pid, "status", text, sizeof(text)) < 0 ||
	    ps_parse_status(text, l->level, entry) < 0)
		return;
	set_times(entry, hz);
	read_command(l, entry);
	/* The array is full-sized: pointers into its entries stay good */
	l->n++;
}

/* ---- all of them ---- */

static int by_pid(const void *a, const void *b)
{
	const struct ps_entry *const *x = a, *const *y = b;

	return (*x)->info.pid < (*y)->info.pid ? -1 : (*x)->info.pid > (*y)->info.pid;
}

/* Parents are named as the agent sees them: give them the numbers of the container */
static void name_parents(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		for (size_t p = 0; p < l->n; p++) {
			if (l->items[p].agent_pid == l->items[i].agent_parent) {
				l->items[i].info.parent_pid = l->items[p].info.pid;
				break;
			}
		}
	}
}

static int write_answer(const struct listing *l, struct ps_entry **sorted, int fd)
{
	Caisson__Agent__ProcessesResponse response = CAISSON__AGENT__PROCESSES_RESPONSE__INIT;
	cleanup_free Caisson__Agent__ProcessInfo **list = calloc(l->n + 1, sizeof(*list));
	cleanup_free uint8_t *bytes = NULL;
	struct sysinfo info;
	size_t len;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		list[i] = &sorted[i]->info;
	response.processes = list;
	response.n_processes = l->n;
	response.memory_bytes = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
	response.cut = l->cut;
	response.now_s = time(NULL);
	len = caisson__agent__processes_response__get_packed_size(&response);
	if (len > PS_ANSWER_MAX)
		return -EMSGSIZE;
	bytes = malloc(len + 1);
	if (!bytes)
		return -ENOMEM;
	(void)caisson__agent__processes_response__pack(&response, bytes);
	return io_write_full(fd, bytes, len);
}

/* In the child; what it allocates ends with it */
static int list_processes(int fd, void *arg)
{
	const struct container *container = arg;
	struct listing l = {0};
	struct ps_entry **sorted = calloc(PS_PROCESSES_MAX, sizeof(struct ps_entry *));
	int r;

	l.items = calloc(PS_PROCESSES_MAX + 1, sizeof(*l.items));
	if (!l.items || !sorted)
		return -ENOMEM;
	l.level = child_namespace_flags(container->config) & CLONE_NEWPID ? 1 : 0;
	r = cgroup_each_pid(container->cgroup_fd, add_process, &l);
	if (r < 0)
		return r;
	name_parents(&l);
	for (size_t i = 0; i < l.n; i++)
		sorted[i] = &l.items[i];
	qsort(sorted, l.n, sizeof(struct ps_entry *), by_pid);
	return write_answer(&l, sorted, fd);
}

/* ---- in the agent ---- */

static void start(struct container *container);

static struct ttrpc_call *take_first(struct ps *ps)
{
	struct ttrpc_call *call = ps->calls[0];

	ps->ncalls--;
	memmove(ps->calls, ps->calls + 1, ps->ncalls * sizeof(struct ttrpc_call *));
	return call;
}

static void on_listed(struct work *work, int error, const uint8_t *data, size_t len)
{
	struct container *container = container_of(work, struct container, ps.work);
	struct ttrpc_call *call = take_first(&container->ps);

	if (error)
		ttrpc_reply_error(call, TTRPC_INTERNAL, "cannot list the container's processes: %s",
				  err_reason(-error));
	else
		ttrpc_reply(call, data, len);
	if (container->ps.ncalls)
		start(container);
}

static void start(struct container *container)
{
	const struct work_job job = {
		.run = list_processes,
		.arg = container,
		.keep = container->cgroup_fd,
		.max = PS_ANSWER_MAX,
		.timeout_ms = PS_TIMEOUT_MS,
	};
	struct err err = {0};

	container->ps.work.on_done = on_listed;
	while (container->ps.ncalls &&
	       work_start(&container->ps.work, container->agent->loop, &job, &err) < 0)
		ttrpc_reply_error(take_first(&container->ps), TTRPC_INTERNAL, "%s", err.msg);
}

void ps_list(struct container *container, struct ttrpc_call *call)
{
	struct ps *ps = &container->ps;

	if (ps->ncalls == PS_WAITING_MAX) {
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED,
				  "more than %d calls ask for the processes", PS_WAITING_MAX);
		return;
	}
	ps->calls[ps->ncalls++] = call;
	if (!ps->work.running)
		start(container);
}

void ps_release(struct container *container)
{
	struct ps *ps = &container->ps;

	work_cancel(&ps->work);
	while (ps->ncalls)
		ttrpc_reply_error(take_first(ps), TTRPC_FAILED_PRECONDITION,
				  "container not running");
}
