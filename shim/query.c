/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands ask about the guest: pausing, processes, figures, events.
 *
 * Processes and figures come as the agent's own bytes (guest/agent.proto) in a memfd: a guest may have written anything into
 * them. They are decoded here, in the short-lived command, under a budget of memory; what cannot be is an error, texts
 * are cleaned, names that the kernel does not use are refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/agent.pb-c.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/ttrpc.h"
#include "shim/control.h"
#include "shim/wire.h"

#define DECODE_BUDGET (16u << 20)
#define PROCESSES_MAX 8192
#define FIGURES_MAX 1024

static int refuse(struct err *err, const char *what)
{
	return err_set(err, EPROTO, "the guest gave %s that are none", what);
}

int control_pause(int state_fd, struct err *err)
{
	struct control_request request;

	control_request_init(&request, CONTROL_PAUSE);
	return wire_request(state_fd, &request, WIRE_TIMEOUT_S, err);
}

int control_resume(int state_fd, struct err *err)
{
	struct control_request request;

	control_request_init(&request, CONTROL_RESUME);
	return wire_request(state_fd, &request, WIRE_TIMEOUT_S, err);
}

/* ---- answers in a memfd ---- */

static int read_answer(int fd, size_t len, uint8_t **out, struct err *err)
{
	cleanup_free uint8_t *bytes = malloc(len + 1);
	struct stat st;
	ssize_t n;

	if (!bytes)
		return err_sys(err, ENOMEM, "the monitor's answer");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != len)
		return err_set(err, EPROTO, "the monitor's answer has another length than it says");
	n = pread(fd, bytes, len, 0);
	if (n < 0 || (size_t)n != len)
		return err_sys(err, n < 0 ? errno : EIO, "the monitor's answer");
	*out = take_ptr(&bytes);
	return 0;
}

/* Return: the answer's length, or -errno */
static ssize_t ask(int state_fd, enum control_type type, uint8_t **out, struct err *err)
{
	cleanup_close int sock = wire_connect(state_fd, WIRE_TIMEOUT_S, err), fd = -1;
	struct control_request request;
	struct control_reply reply;
	size_t nfds = 0;
	int r;

	if (sock < 0)
		return sock;
	control_request_init(&request, type);
	r = wire_ask(sock, &request, NULL, 0, err);
	if (r < 0)
		return r;
	r = wire_receive(sock, &reply, &fd, 1, &nfds, err);
	if (r < 0)
		return r;
	if (nfds != 1 || reply.type != CONTROL_REPLY_DONE)
		return err_set(err, EPROTO, "the monitor gave an answer without content");
	r = read_answer(fd, reply.payload_len, out, err);
	return r < 0 ? r : (ssize_t)reply.payload_len;
}

int control_pids(int state_fd, int32_t **out, struct err *err)
{
	uint8_t *bytes = NULL;
	ssize_t len = ask(state_fd, CONTROL_PIDS, &bytes, err);

	if (len < 0)
		return (int)len;
	*out = (int32_t *)(void *)bytes;
	return (int)((size_t)len / sizeof(int32_t));
}

/* ---- processes ---- */

/* Arguments, each ended by NUL, as one line */
static char *command_line(const ProtobufCBinaryData *arguments)
{
	size_t len = arguments->len;
	char *text = malloc(len + 1);

	if (!text)
		return NULL;
	if (len)
		memcpy(text, arguments->data, len);
	while (len > 0 && (!text[len - 1] || text[len - 1] == ' '))
		len--;
	for (size_t i = 0; i < len; i++)
		if (!text[i])
			text[i] = ' ';
	text[len] = '\0';
	text_clean(text);
	return text;
}

static int take_process(const Caisson__Agent__ProcessInfo *info, struct control_process *out,
			struct err *err)
{
	if (info->pid <= 0 || info->parent_pid < 0 || info->group_id < 0 || info->session_id < 0 ||
	    info->name.len >= sizeof(out->name))
		return refuse(err, "processes");
	*out = (struct control_process){
		.pid = info->pid,
		.parent_pid = info->parent_pid,
		.group_id = info->group_id,
		.session_id = info->session_id,
		.foreground = info->foreground,
		.uid = info->uid,
		.gid = info->gid,
		.state = (info->state | 0x20) >= 'a' && (info->state | 0x20) <= 'z'
				 ? (char)info->state
				 : '?',
		.terminal = info->terminal,
		.threads = info->threads,
		.nice = info->nice,
		.start_s = info->start_s,
		.elapsed_ms = info->elapsed_ms,
		.cpu_ms = info->cpu_ms,
		.virtual_bytes = info->virtual_bytes,
		.resident_bytes = info->resident_bytes,
	};
	if (info->name.len)
		memcpy(out->name, info->name.data, info->name.len);
	text_clean(out->name);
	out->command = command_line(&info->command);
	return out->command ? 0 : err_sys(err, ENOMEM, "the container's processes");
}

static int take_processes(const Caisson__Agent__ProcessesResponse *response,
			  struct control_processes *out, struct err *err)
{
	if (response->n_processes > PROCESSES_MAX)
		return refuse(err, "processes");
	out->items = calloc(response->n_processes + 1, sizeof(*out->items));
	if (!out->items)
		return err_sys(err, ENOMEM, "the container's processes");
	for (size_t i = 0; i < response->n_processes; i++) {
		int r = take_process(response->processes[i], &out->items[i], err);

		if (r < 0)
			return r;
		out->n++;
	}
	out->memory_bytes = response->memory_bytes;
	out->now_s = response->now_s;
	out->cut = response->cut;
	return 0;
}

int control_processes_decode(const uint8_t *bytes, size_t len, struct control_processes *out,
			     struct err *err)
{
	struct control_processes processes = {0};
	Caisson__Agent__ProcessesResponse *response = ttrpc_unpack_within(
		&caisson__agent__processes_response__descriptor, bytes, len, DECODE_BUDGET);
	int r;

	if (!response)
		return refuse(err, "processes");
	r = take_processes(response, &processes, err);
	ttrpc_message_free(response);
	if (r < 0)
		control_processes_release(&processes);
	else
		*out = processes;
	return r;
}

int control_processes(int state_fd, struct control_processes *out, struct err *err)
{
	cleanup_free uint8_t *bytes = NULL;
	ssize_t len = ask(state_fd, CONTROL_PROCESSES, &bytes, err);

	return len < 0 ? (int)len : control_processes_decode(bytes, (size_t)len, out, err);
}

void control_processes_release(struct control_processes *processes)
{
	for (size_t i = 0; i < processes->n; i++)
		free(processes->items[i].command);
	free(processes->items);
	*processes = (struct control_processes){0};
}

/* ---- figures ---- */

/* A name of the kernel's */
static bool take_name(const char *from, char to[64])
{
	size_t len = strlen(from);

	if (!len || len >= 64 ||
	    strspn(from, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != len)
		return false;
	memcpy(to, from, len + 1);
	return true;
}

/* Both begin with their name */
static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool sort_names(void *items, size_t n, size_t size)
{
	qsort(items, n, size, by_name);
	for (size_t i = 1; i < n; i++)
		if (strcmp((char *)items + i * size, (char *)items + (i - 1) * size) == 0)
			return false;
	return true;
}

static struct control_memory take_memory(const Caisson__Agent__MemoryFigures *from)
{
	struct control_memory memory = {0};

	if (from)
		memory = (struct control_memory){from->usage, from->max_usage, from->limit};
	return memory;
}

static struct control_pressure take_pressure(const Caisson__Agent__Pressure *from)
{
	struct control_pressure p = {.present = from != NULL};

	if (from)
		p = (struct control_pressure){
			.present = true,
			.some = {from->some_10, from->some_60, from->some_300},
			.full = {from->full_10, from->full_60, from->full_300},
			.some_total = from->some_total,
			.full_total = from->full_total,
		};
	return p;
}

static int take_lists(const Caisson__Agent__StatsResponse *from, struct control_stats *out,
		      struct err *err)
{
	if (from->n_memory_stat > FIGURES_MAX || from->n_io > FIGURES_MAX ||
	    from->n_hugetlb > FIGURES_MAX)
		return refuse(err, "figures");
	out->memory_stat = calloc(from->n_memory_stat + 1, sizeof(*out->memory_stat));
	out->io = calloc(from->n_io + 1, sizeof(*out->io));
	out->hugetlb = calloc(from->n_hugetlb + 1, sizeof(*out->hugetlb));
	if (!out->memory_stat || !out->io || !out->hugetlb)
		return err_sys(err, ENOMEM, "the container's figures");
	for (size_t i = 0; i < from->n_memory_stat; i++) {
		struct control_figure *f = &out->memory_stat[out->nmemory_stat++];

		f->value = from->memory_stat[i]->value;
		if (!take_name(from->memory_stat[i]->name, f->name))
			return refuse(err, "figures");
	}
	for (size_t i = 0; i < from->n_io; i++) {
		const Caisson__Agent__DeviceFigures *d = from->io[i];

		out->io[out->nio++] = (struct control_device){
			d->major, d->minor, d->read_bytes, d->write_bytes, d->reads, d->writes};
	}
	for (size_t i = 0; i < from->n_hugetlb; i++) {
		struct control_hugetlb *h = &out->hugetlb[out->nhugetlb++];

		h->usage = from->hugetlb[i]->usage;
		h->failures = from->hugetlb[i]->failures;
		if (!take_name(from->hugetlb[i]->size, h->size))
			return refuse(err, "figures");
	}
	if (!sort_names(out->memory_stat, out->nmemory_stat, sizeof(*out->memory_stat)) ||
	    !sort_names(out->hugetlb, out->nhugetlb, sizeof(*out->hugetlb)))
		return refuse(err, "figures");
	return 0;
}

static int take_stats(const Caisson__Agent__StatsResponse *from, struct control_stats *out,
		      struct err *err)
{
	*out = (struct control_stats){
		.cpu_total_ns = from->cpu_total_ns,
		.cpu_user_ns = from->cpu_user_ns,
		.cpu_kernel_ns = from->cpu_kernel_ns,
		.periods = from->periods,
		.throttled_periods = from->throttled_periods,
		.throttled_ns = from->throttled_ns,
		.has_memory = from->memory != NULL,
		.has_swap = from->swap != NULL,
		.memory = take_memory(from->memory),
		.swap = take_memory(from->swap),
		.pids = from->pids,
		.pids_limit = from->pids_limit,
		.cpu_pressure = take_pressure(from->cpu_pressure),
		.memory_pressure = take_pressure(from->memory_pressure),
		.io_pressure = take_pressure(from->io_pressure),
	};
	return take_lists(from, out, err);
}

int control_stats_decode(const uint8_t *bytes, size_t len, struct control_stats *out,
			 struct err *err)
{
	struct control_stats stats;
	Caisson__Agent__StatsResponse *response = ttrpc_unpack_within(
		&caisson__agent__stats_response__descriptor, bytes, len, DECODE_BUDGET);
	int r;

	if (!response)
		return refuse(err, "figures");
	r = take_stats(response, &stats, err);
	ttrpc_message_free(response);
	if (r < 0)
		control_stats_release(&stats);
	else
		*out = stats;
	return r;
}

int control_stats(int state_fd, struct control_stats *out, struct err *err)
{
	cleanup_free uint8_t *bytes = NULL;
	ssize_t len = ask(state_fd, CONTROL_STATS, &bytes, err);

	return len < 0 ? (int)len : control_stats_decode(bytes, (size_t)len, out, err);
}

void control_stats_release(struct control_stats *stats)
{
	free(stats->memory_stat);
	free(stats->io);
	free(stats->hugetlb);
	*stats = (struct control_stats){0};
}

/* ---- events ---- */

int control_events_open(int state_fd, struct err *err)
{
	cleanup_close int sock = wire_connect(state_fd, WIRE_TIMEOUT_S, err);
	struct control_request request;
	struct control_reply reply;
	size_t nfds = 0;
	int r;

	if (sock < 0)
		return sock;
	control_request_init(&request, CONTROL_EVENTS);
	r = wire_ask(sock, &request, NULL, 0, err);
	if (r < 0)
		return r;
	r = wire_receive(sock, &reply, NULL, 0, &nfds, err);
	return r < 0 ? r : take_fd(&sock);
}

int control_events_next(int fd, struct err *err)
{
	struct control_reply reply;
	size_t nfds = 0;
	int r = wire_receive(fd, &reply, NULL, 0, &nfds, err);

	if (r == -ECONNREFUSED)
		return 0;
	if (r < 0)
		return r;
	return reply.type == CONTROL_REPLY_EVENT
		       ? 1
		       : err_set(err, EPROTO, "the monitor gave an answer that was not asked for");
}
