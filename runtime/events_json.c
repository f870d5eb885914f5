/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as JSON, see runtime/events_json.h.
 *
 * runc's rules: figures that are 0 are left out, but for those that it names always; a limit of none is 2^64-1, but 0
 * for pids; swap includes memory, as in cgroup v1. Fields that only v1 knows are there with 0.
 */
#include "runtime/events_json.h"

#include "oci/json.h"

#define LINE_MAX_BYTES (1u << 20)

static void number(struct json_writer *w, const char *key, uint64_t value)
{
	json_write_key(w, key);
	json_write_uint(w, value);
}

static void number_if(struct json_writer *w, const char *key, uint64_t value)
{
	if (value)
		number(w, key, value);
}

static void open_object(struct json_writer *w, const char *key)
{
	json_write_key(w, key);
	json_write_open(w, '{');
}

static void write_averages(struct json_writer *w, const char *key, const uint32_t averages[3],
			   uint64_t total)
{
	static const char *const keys[] = {"avg10", "avg60", "avg300"};

	open_object(w, key);
	for (int i = 0; i < 3; i++) {
		json_write_key(w, keys[i]);
		json_write_hundredths(w, averages[i]);
	}
	number(w, "total", total);
	json_write_close(w, '}');
}

static void write_pressure(struct json_writer *w, const struct control_pressure *p)
{
	if (!p->present)
		return;
	open_object(w, "psi");
	write_averages(w, "some", p->some, p->some_total);
	write_averages(w, "full", p->full, p->full_total);
	json_write_close(w, '}');
}

static void write_cpu(struct json_writer *w, const struct control_stats *s)
{
	open_object(w, "cpu");
	open_object(w, "usage");
	number_if(w, "total", s->cpu_total_ns);
	number(w, "kernel", s->cpu_kernel_ns);
	number(w, "user", s->cpu_user_ns);
	json_write_close(w, '}');
	open_object(w, "throttling");
	number_if(w, "periods", s->periods);
	number_if(w, "throttledPeriods", s->throttled_periods);
	number_if(w, "throttledTime", s->throttled_ns);
	json_write_close(w, '}');
	write_pressure(w, &s->cpu_pressure);
	json_write_close(w, '}');
}

/* cgroup v1's; with v2 runc gives these as well */
static void write_cpuset(struct json_writer *w)
{
	static const char *const keys[] = {
		"cpu_exclusive",   "mem_hardwall",	 "mem_exclusive",
		"memory_migrate",  "memory_spread_page", "memory_spread_slab",
		"memory_pressure", "sched_load_balance", "sched_relax_domain_level"};

	open_object(w, "cpuset");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		number(w, keys[i], 0);
	json_write_close(w, '}');
}

static void write_memory_entry(struct json_writer *w, const char *key,
			       const struct control_memory *m)
{
	open_object(w, key);
	number(w, "limit", m->limit);
	number_if(w, "usage", m->usage);
	number_if(w, "max", m->max_usage);
	number(w, "failcnt", 0);
	json_write_close(w, '}');
}

static void write_memory(struct json_writer *w, const struct control_stats *s)
{
	const struct control_memory none = {0};
	struct control_memory swap = s->swap;
	uint64_t cache = 0;

	swap.usage += s->memory.usage;
	if (swap.limit != UINT64_MAX)
		swap.limit += s->memory.limit;
	swap.max_usage = 0;
	for (size_t i = 0; i < s->nmemory_stat; i++) {
		if (strcmp(s->memory_stat[i].name, "file") == 0)
			cache = s->memory_stat[i].value;
	}
	open_object(w, "memory");
	number_if(w, "cache", cache);
	write_memory_entry(w, "usage", &s->memory);
	write_memory_entry(w, "swap", s->has_memory ? &swap : &none);
	write_memory_entry(w, "kernel", &none);
	write_memory_entry(w, "kernelTCP", &none);
	if (s->nmemory_stat) {
		open_object(w, "raw");
		for (size_t i = 0; i < s->nmemory_stat; i++)
			number(w, s->memory_stat[i].name, s->memory_stat[i].value);
		json_write_close(w, '}');
	}
	write_pressure(w, &s->memory_pressure);
	json_write_close(w, '}');
}

static void write_device(struct json_writer *w, const struct control_device *d, const char *op,
			 uint64_t value)
{
	json_write_open(w, '{');
	number_if(w, "major", d->major);
	number_if(w, "minor", d->minor);
	json_write_key(w, "op");
	json_write_string(w, op);
	number_if(w, "value", value);
	json_write_close(w, '}');
}

static void write_io(struct json_writer *w, const struct control_stats *s)
{
	open_object(w, "blkio");
	if (s->nio) {
		json_write_key(w, "ioServiceBytesRecursive");
		json_write_open(w, '[');
		for (size_t i = 0; i < s->nio; i++) {
			write_device(w, &s->io[i], "Read", s->io[i].read_bytes);
			write_device(w, &s->io[i], "Write", s->io[i].write_bytes);
		}
		json_write_close(w, ']');
		json_write_key(w, "ioServicedRecursive");
		json_write_open(w, '[');
		for (size_t i = 0; i < s->nio; i++) {
			write_device(w, &s->io[i], "Read", s->io[i].reads);
			write_device(w, &s->io[i], "Write", s->io[i].writes);
		}
		json_write_close(w, ']');
	}
	write_pressure(w, &s->io_pressure);
	json_write_close(w, '}');
}

static void write_hugetlb(struct json_writer *w, const struct control_stats *s)
{
	open_object(w, "hugetlb");
	for (size_t i = 0; i < s->nhugetlb; i++) {
		open_object(w, s->hugetlb[i].size);
		number_if(w, "usage", s->hugetlb[i].usage);
		number(w, "failcnt", s->hugetlb[i].failures);
		json_write_close(w, '}');
	}
	json_write_close(w, '}');
}

static void write_stats(struct json_writer *w, const struct control_stats *s)
{
	open_object(w, "data");
	write_cpu(w, s);
	write_cpuset(w);
	write_memory(w, s);
	open_object(w, "pids");
	number_if(w, "current", s->pids);
	number_if(w, "limit", s->pids_limit);
	json_write_close(w, '}');
	write_io(w, s);
	write_hugetlb(w, s);
	open_object(w, "intel_rdt");
	json_write_close(w, '}');
	json_write_key(w, "network_interfaces");
	json_write_null(w);
	json_write_close(w, '}');
}

ssize_t events_json(const char *type, const char *id, const struct control_stats *stats, char **out,
		    struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, LINE_MAX_BYTES);
	json_write_open(&w, '{');
	json_write_key(&w, "type");
	json_write_string(&w, type);
	json_write_key(&w, "id");
	json_write_string(&w, id);
	if (stats)
		write_stats(&w, stats);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}
