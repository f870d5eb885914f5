/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what `update` is told: see runtime/update_options.h. Options make a document of the same kind as --resources takes, so
 * that one parser checks both.
 */
#include "runtime/update_options.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define O(name_, letter_, member_, help_)                                         \
	{                                                                         \
		.name = name_, .letter = letter_, .kind = CLI_STRING,             \
		.offset = offsetof(struct update_options, member_), .help = help_ \
	}

const struct cli_option update_cli_options[] = {
	O("resources", 'r', resources,
	  "path to the file containing the resources to update or '-' to read from the standard "
	  "input; all other options are ignored then"),
	O("blkio-weight", 0, blkio_weight, "per cgroup weight, range is from 10 to 1000"),
	O("cpu-period", 0, cpu_period, "CPU CFS period to be used for hardcapping (in usecs)"),
	O("cpu-quota", 0, cpu_quota,
	  "CPU CFS hardcap limit (in usecs): allowed CPU time in a given period"),
	O("cpu-burst", 0, cpu_burst,
	  "CPU CFS hardcap burst limit (in usecs): accumulated CPU time allowed on top"),
	O("cpu-share", 0, cpu_shares, "CPU shares (relative weight vs. other containers)"),
	O("cpu-shares", 0, cpu_shares, NULL),
	O("cpu-rt-period", 0, cpu_rt_period, "accepted; cgroup v2 has none"),
	O("cpu-rt-runtime", 0, cpu_rt_runtime, "accepted; cgroup v2 has none"),
	O("cpuset-cpus", 0, cpuset_cpus, "CPU(s) of the host to use"),
	O("cpuset-mems", 0, cpuset_mems, "memory node(s) of the host to use"),
	O("kernel-memory", 0, kernel_memory, NULL),
	O("kernel-memory-tcp", 0, kernel_memory_tcp, NULL),
	O("memory", 0, memory, "memory limit (in bytes)"),
	O("cpu-idle", 0, cpu_idle,
	  "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
	O("memory-reservation", 0, memory_reservation,
	  "memory reservation or soft limit (in bytes)"),
	O("memory-swap", 0, memory_swap,
	  "total memory usage (memory + swap); '-1' to enable unlimited swap"),
	O("pids-limit", 0, pids_limit, "maximum number of pids allowed in the container"),
	O("l3-cache-schema", 0, l3_cache_schema, "not supported"),
	O("mem-bw-schema", 0, mem_bw_schema, "not supported"),
	{0},
};

/* ---- values ---- */

int update_bytes(const char *text, int64_t *out)
{
	static const char units[] = "kmgtp";
	size_t digits = strspn(text, "0123456789.");
	char number[32] = "";
	const char *unit;
	double value;
	char *end;

	if (strcmp(text, "-1") == 0) {
		*out = -1;
		return 0;
	}
	if (digits == 0 || digits >= sizeof(number) || text[0] == '.')
		return -EINVAL;
	memcpy(number, text, digits);
	value = strtod(number, &end);
	if (*end)
		return -EINVAL;
	end = (char *)text + digits;
	end += *end == ' ';
	unit = *end ? strchr(units, *end | 0x20) : NULL;
	if (unit) {
		value = ldexp(value, 10 * (int)(unit - units + 1));
		end++;
		end += *end == 'i' || *end == 'I';
	}
	end += *end == 'b' || *end == 'B';
	if (*end || value >= 0x1p63)
		return -EINVAL;
	*out = (int64_t)value;
	return 0;
}

static int set_bytes(const char *name, const char *text, struct oci_int *out, struct err *err)
{
	if (!text || !text[0])
		return 0;
	out->given = true;
	if (update_bytes(text, &out->value) < 0)
		return err_set(err, EINVAL, "invalid value for %s: invalid size: '%.64s'", name,
			       text);
	return 0;
}

/* A number that may be negative if @is_signed */
static int set_number(const char *name, const char *text, bool is_signed, int64_t *out, bool *given,
		      struct err *err)
{
	const char *digits = text;
	char *end;

	if (!text || !text[0])
		return 0;
	if (is_signed && (*digits == '-' || *digits == '+'))
		digits++;
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (*digits < '0' || *digits > '9' || *end || errno)
		return err_set(err, EINVAL, "invalid value for %s: '%.64s' is not a number", name,
			       text);
	*given = true;
	return 0;
}

static int set_int(const char *name, const char *text, struct oci_int *out, struct err *err)
{
	return set_number(name, text, true, &out->value, &out->given, err);
}

static int set_uint(const char *name, const char *text, struct oci_uint *out, struct err *err)
{
	int64_t value = (int64_t)out->value;
	int r = set_number(name, text, false, &value, &out->given, err);

	out->value = (uint64_t)value;
	return r;
}

/* ---- options ---- */

static int fill_cpu(const struct update_options *o, struct oci_resources *r, struct err *err)
{
	int e = set_uint("cpu-period", o->cpu_period, &r->cpu.period, err);

	if (e == 0)
		e = set_int("cpu-quota", o->cpu_quota, &r->cpu.quota, err);
	if (e == 0)
		e = set_uint("cpu-burst", o->cpu_burst, &r->cpu.burst, err);
	if (e == 0)
		e = set_uint("cpu-share", o->cpu_shares, &r->cpu.shares, err);
	if (e == 0)
		e = set_int("cpu-idle", o->cpu_idle, &r->cpu.idle, err);
	if (e == 0)
		e = set_uint("cpu-rt-period", o->cpu_rt_period, &r->cpu.realtime_period, err);
	if (e == 0)
		e = set_int("cpu-rt-runtime", o->cpu_rt_runtime, &r->cpu.realtime_runtime, err);
	/* Borrowed: the struct is only written out */
	r->cpu.cpus = (char *)o->cpuset_cpus;
	r->cpu.mems = (char *)o->cpuset_mems;
	return e;
}

static int fill(const struct update_options *o, struct oci_resources *r, struct err *err)
{
	int e = fill_cpu(o, r, err);

	if (e == 0)
		e = set_bytes("memory", o->memory, &r->memory.limit, err);
	if (e == 0)
		e = set_bytes("memory-reservation", o->memory_reservation, &r->memory.reservation,
			      err);
	if (e == 0)
		e = set_bytes("memory-swap", o->memory_swap, &r->memory.swap, err);
	if (e == 0)
		e = set_int("pids-limit", o->pids_limit, &r->pids_limit, err);
	if (e == 0)
		e = set_uint("blkio-weight", o->blkio_weight, &r->io.weight, err);
	return e;
}

static int check_unsupported(const struct update_options *o, struct err *err)
{
	if (o->l3_cache_schema && o->l3_cache_schema[0])
		return err_set(err, ENOTSUP, "Intel RDT/CAT: l3 cache schema is not enabled");
	if (o->mem_bw_schema && o->mem_bw_schema[0])
		return err_set(err, ENOTSUP,
			       "Intel RDT/MBA: memory bandwidth schema is not enabled");
	if (o->kernel_memory && o->kernel_memory[0])
		log_warn("Setting --kernel-memory is ignored and will be removed");
	if (o->kernel_memory_tcp && o->kernel_memory_tcp[0])
		log_warn("Setting --kernel-memory-tcp is ignored and will be removed");
	return 0;
}

static ssize_t from_options(const struct update_options *options, char **out, struct err *err)
{
	struct oci_resources resources = {0};
	int r = fill(options, &resources, err);

	return r < 0 ? r : oci_resources_write(&resources, out, err);
}

/* Up to the end, unlike a file of known size */
static ssize_t from_stdin(char **out, struct err *err)
{
	cleanup_free char *text = calloc(1, OCI_RESOURCES_MAX + 2);
	size_t len = 0;
	ssize_t n = 1;

	if (!text)
		return err_sys(err, ENOMEM, "resources");
	while (n != 0 && len <= OCI_RESOURCES_MAX) {
		n = read(STDIN_FILENO, text + len, OCI_RESOURCES_MAX + 1 - len);
		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "reading standard input");
		len += n > 0 ? (size_t)n : 0;
	}
	*out = take_ptr(&text);
	return (ssize_t)len;
}

int update_read(const struct update_options *options, struct oci_resources **out, struct err *err)
{
	cleanup_free char *text = NULL;
	const char *file = options->resources;
	ssize_t n;
	int r = check_unsupported(options, err);

	if (r < 0)
		return r;
	if (!file || !file[0])
		n = from_options(options, &text, err);
	else if (strcmp(file, "-") == 0)
		n = from_stdin(&text, err);
	else
		n = io_read_file(AT_FDCWD, file, OCI_RESOURCES_MAX, &text, err);
	if (n < 0)
		return (int)n;
	return oci_resources_parse(text, (size_t)n, out, err);
}
