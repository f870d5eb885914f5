/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of a cgroup: see guest/stats.h. */
#include "guest/stats.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"

#define FILE_MAX 65536
#define FIGURES_MAX 128 /* lines of memory.stat */
#define DEVICES_MAX 64
#define SIZES_MAX 8 /* of huge pages */
#define NAME_MAX_BYTES 64

/* Everything that the answer points to */
struct stats {
	Caisson__Agent__StatsResponse response;
	Caisson__Agent__MemoryFigures memory, swap;
	Caisson__Agent__NamedFigure figures[FIGURES_MAX], *figure_list[FIGURES_MAX];
	Caisson__Agent__DeviceFigures devices[DEVICES_MAX], *device_list[DEVICES_MAX];
	Caisson__Agent__HugetlbFigures sizes[SIZES_MAX], *size_list[SIZES_MAX];
	Caisson__Agent__Pressure pressure[3];
	char names[FIGURES_MAX + SIZES_MAX][NAME_MAX_BYTES];
	size_t nnames;
};

/* A whole file, NULL when it is not there */
static char *read_text(int fd, const char *name)
{
	char *text = NULL;

	return io_read_file(fd, name, FILE_MAX, &text, NULL) < 0 ? NULL : text;
}

/* A file of one number; "max" is 2^64-1 */
static bool read_number(int fd, const char *name, uint64_t *out)
{
	cleanup_free char *text = read_text(fd, name);

	if (!text)
		return false;
	if (strncmp(text, "max", 3) == 0) {
		*out = UINT64_MAX;
		return true;
	}
	return sscanf(text, "%" SCNu64, out) == 1;
}

static char *keep_name(struct stats *s, const char *name, size_t len)
{
	char *copy = s->names[s->nnames++];

	(void)snprintf(copy, NAME_MAX_BYTES, "%.*s", (int)len, name);
	return copy;
}

static void fill_cpu(int fd, Caisson__Agent__StatsResponse *r)
{
	cleanup_free char *text = read_text(fd, "cpu.stat");
	struct {
		const char *key;
		uint64_t *out, factor;
	} const figures[] = {
		{"usage_usec", &r->cpu_total_ns, 1000},
		{"user_usec", &r->cpu_user_ns, 1000},
		{"system_usec", &r->cpu_kernel_ns, 1000},
		{"nr_periods", &r->periods, 1},
		{"nr_throttled", &r->throttled_periods, 1},
		{"throttled_usec", &r->throttled_ns, 1000},
	};

	for (size_t i = 0; text && i < ARRAY_SIZE(figures); i++) {
		if (cgroup_value(text, figures[i].key, figures[i].out) == 0)
			*figures[i].out *= figures[i].factor;
	}
}

static void fill_memory(int fd, struct stats *s)
{
	cleanup_free char *text = read_text(fd, "memory.stat");
	char *save = NULL;

	caisson__agent__memory_figures__init(&s->memory);
	caisson__agent__memory_figures__init(&s->swap);
	if (read_number(fd, "memory.current", &s->memory.usage))
		s->response.memory = &s->memory;
	(void)read_number(fd, "memory.peak", &s->memory.max_usage);
	(void)read_number(fd, "memory.max", &s->memory.limit);
	if (read_number(fd, "memory.swap.current", &s->swap.usage))
		s->response.swap = &s->swap;
	(void)read_number(fd, "memory.swap.peak", &s->swap.max_usage);
	(void)read_number(fd, "memory.swap.max", &s->swap.limit);
	s->response.memory_stat = s->figure_list;
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL;
	     line && s->response.n_memory_stat < FIGURES_MAX; line = strtok_r(NULL, "\n", &save)) {
		Caisson__Agent__NamedFigure *figure = &s->figures[s->response.n_memory_stat];
		const char *space = strchr(line, ' ');

		caisson__agent__named_figure__init(figure);
		if (!space || sscanf(space, "%" SCNu64, &figure->value) != 1)
			continue;
		figure->name = keep_name(s, line, (size_t)(space - line));
		s->figure_list[s->response.n_memory_stat++] = figure;
	}
}

static void fill_pids(int fd, Caisson__Agent__StatsResponse *r)
{
	(void)read_number(fd, "pids.current", &r->pids);
	if (read_number(fd, "pids.max", &r->pids_limit) && r->pids_limit == UINT64_MAX)
		r->pids_limit = 0;
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" */
static void fill_io(int fd, struct stats *s)
{
	cleanup_free char *text = read_text(fd, "io.stat");
	char *save = NULL;

	s->response.io = s->device_list;
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL;
	     line && s->response.n_io < DEVICES_MAX; line = strtok_r(NULL, "\n", &save)) {
		Caisson__Agent__DeviceFigures *d = &s->devices[s->response.n_io];
		const char *at;

		caisson__agent__device_figures__init(d);
		if (sscanf(line, "%" SCNu32 ":%" SCNu32, &d->major, &d->minor) != 2)
			continue;
		if ((at = strstr(line, " rbytes=")))
			d->read_bytes = strtoull(at + 8, NULL, 10);
		if ((at = strstr(line, " wbytes=")))
			d->write_bytes = strtoull(at + 8, NULL, 10);
		if ((at = strstr(line, " rios=")))
			d->reads = strtoull(at + 6, NULL, 10);
		if ((at = strstr(line, " wios=")))
			d->writes = strtoull(at + 6, NULL, 10);
		s->device_list[s->response.n_io++] = d;
	}
}

/* One size of huge pages, by its file "hugetlb.2MB.events" */
static void fill_size(int fd, struct stats *s, const char *size, size_t len)
{
	Caisson__Agent__HugetlbFigures *h = &s->sizes[s->response.n_hugetlb];
	cleanup_free char *events = NULL;
	char name[NAME_MAX_BYTES * 2];

	caisson__agent__hugetlb_figures__init(h);
	(void)snprintf(name, sizeof(name), "hugetlb.%.*s.rsvd.current", (int)len, size);
	if (!read_number(fd, name, &h->usage)) {
		(void)snprintf(name, sizeof(name), "hugetlb.%.*s.current", (int)len, size);
		if (!read_number(fd, name, &h->usage))
			return;
	}
	(void)snprintf(name, sizeof(name), "hugetlb.%.*s.events", (int)len, size);
	events = read_text(fd, name);
	if (events)
		(void)cgroup_value(events, "max", &h->failures);
	h->size = keep_name(s, size, len);
	s->size_list[s->response.n_hugetlb++] = h;
}

static void fill_hugetlb(int fd, struct stats *s)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	s->response.hugetlb = s->size_list;
	if (!dir) {
		close_fd(&copy);
		return;
	}
	while (s->response.n_hugetlb < SIZES_MAX && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (strncmp(entry->d_name, "hugetlb.", 8) == 0 && len > 15 &&
		    len < NAME_MAX_BYTES && strcmp(entry->d_name + len - 7, ".events") == 0)
			fill_size(fd, s, entry->d_name + 8, len - 15);
	}
	(void)closedir(dir);
}

/* "some avg10=0.12 avg60=0.00 avg300=0.00 total=123", and "full …" */
static bool parse_pressure(const char *line, const char *kind, uint32_t out[3], uint64_t *total)
{
	unsigned int whole[3], parts[3];

	line = strstr(line, kind);
	if (!line ||
	    sscanf(line + 4, " avg10=%u.%2u avg60=%u.%2u avg300=%u.%2u total=%" SCNu64, &whole[0],
		   &parts[0], &whole[1], &parts[1], &whole[2], &parts[2], total) != 7)
		return false;
	for (int i = 0; i < 3; i++)
		out[i] = whole[i] * 100 + parts[i];
	return true;
}

static Caisson__Agent__Pressure *fill_pressure(int fd, const char *name,
					       Caisson__Agent__Pressure *p)
{
	cleanup_free char *text = read_text(fd, name);
	uint32_t some[3] = {0}, full[3] = {0};

	caisson__agent__pressure__init(p);
	if (!text || !parse_pressure(text, "some", some, &p->some_total))
		return NULL;
	(void)parse_pressure(text, "full", full, &p->full_total);
	p->some_10 = some[0];
	p->some_60 = some[1];
	p->some_300 = some[2];
	p->full_10 = full[0];
	p->full_60 = full[1];
	p->full_300 = full[2];
	return p;
}

void stats_answer(int cgroup_fd, struct ttrpc_call *call)
{
	cleanup_free struct stats *s = calloc(1, sizeof(*s));

	if (!s) {
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED, "%s", err_reason(ENOMEM));
		return;
	}
	caisson__agent__stats_response__init(&s->response);
	fill_cpu(cgroup_fd, &s->response);
	fill_memory(cgroup_fd, s);
	fill_pids(cgroup_fd, &s->response);
	fill_io(cgroup_fd, s);
	fill_hugetlb(cgroup_fd, s);
	s->response.cpu_pressure = fill_pressure(cgroup_fd, "cpu.pressure", &s->pressure[0]);
	s->response.memory_pressure = fill_pressure(cgroup_fd, "memory.pressure", &s->pressure[1]);
	s->response.io_pressure = fill_pressure(cgroup_fd, "io.pressure", &s->pressure[2]);
	ttrpc_reply_message(call, &s->response);
}
