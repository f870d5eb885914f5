/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson-systemd: what --systemd-cgroup needs of systemd, as a program of its own.
 *
 *   caisson-systemd [--user] start UNIT SLICE PID DESCRIPTION    make a scope with that process in it
 *   caisson-systemd [--user] set UNIT FILE=VALUE…                limits, named and written as the cgroup's control files are
 *   caisson-systemd [--user] stop UNIT                           end it; one that is gone already is no error
 *
 * sd-bus exists as a shared library only, and caisson is static: so this is linked dynamically, and executed by shim/systemd.c, only
 * with that option. It answers by its exit status and one sentence on standard error.
 *
 * Without a bus (a system that has systemd and no dbus) it speaks to systemd's own socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define MANAGER "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"
#define SYSTEM_SOCKET "unix:path=/run/systemd/private"
#define CALL_TIMEOUT_US (60ull * 1000000)
#define MASK_BYTES 1024 /* CPUs or memory nodes 0 to 8191 */
#define USEC_PER_SEC 1000000
#define QUOTA_STEP_US 10000 /* systemd keeps whole percents of a CPU */

static int fail(const char *what, int r, const sd_bus_error *error)
{
	(void)fprintf(stderr, "%s: %s\n", what,
		      error && error->message ? error->message : strerror(r < 0 ? -r : r));
	return 1;
}

/* ---- connecting ---- */

static int open_socket(sd_bus **out, const char *address)
{
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		sd_bus_unref(bus);
	else
		*out = bus;
	return r;
}

static int open_user_socket(sd_bus **out)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	char address[512];

	if (!dir || snprintf(address, sizeof(address), "unix:path=%s/systemd/private", dir) >=
			    (int)sizeof(address))
		return -ENOENT;
	return open_socket(out, address);
}

static int connect_manager(bool user, sd_bus **out)
{
	int r = user ? sd_bus_open_user(out) : sd_bus_open_system(out);

	if (r < 0)
		r = user ? open_user_socket(out) : open_socket(out, SYSTEM_SOCKET);
	return r;
}

static int new_call(sd_bus *bus, const char *method, sd_bus_message **out)
{
	return sd_bus_message_new_method_call(bus, out, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
					      method);
}

/* ---- jobs ---- */

struct job {
	const char *path; /* NULL before it is known */
	char result[64];  /* "" while it runs */
	char early_path[256], early_result[64];
};

static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	const char *path, *unit, *result;
	struct job *job = arg;
	uint32_t id;

	(void)error;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	if (!job->path) {
		(void)snprintf(job->early_path, sizeof(job->early_path), "%s", path);
		(void)snprintf(job->early_result, sizeof(job->early_result), "%s", result);
	} else if (strcmp(job->path, path) == 0) {
		(void)snprintf(job->result, sizeof(job->result), "%s", result);
	}
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* Signals may be handled while the call that starts the job is under way */
static int wait_job(sd_bus *bus, struct job *job, const char *path)
{
	uint64_t deadline = now_us() + CALL_TIMEOUT_US;

	job->path = path;
	if (strcmp(job->early_path, path) == 0)
		memcpy(job->result, job->early_result, sizeof(job->result));
	while (!job->result[0]) {
		int r = sd_bus_process(bus, NULL);

		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (now_us() >= deadline)
			return -ETIMEDOUT;
		r = sd_bus_wait(bus, deadline - now_us());
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

static int subscribe(sd_bus *bus, struct job *job)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_match_signal(bus, NULL, NULL, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved",
				    on_job_removed, job);

	/* Without a bus between, signals come to everybody */
	if (r >= 0 && new_call(bus, "Subscribe", &m) >= 0)
		(void)sd_bus_call(bus, m, CALL_TIMEOUT_US, NULL, NULL);
	sd_bus_message_unref(m);
	return r;
}

/* Make the call; its answer is the job to wait for */
static int call_job(sd_bus *bus, sd_bus_message *m, struct job *job, const char *what)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path = NULL;
	int r = sd_bus_call(bus, m, CALL_TIMEOUT_US, &error, &reply), status = 0;

	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		r = wait_job(bus, job, path);
	if (r < 0)
		status = fail(what, r, &error);
	else if (strcmp(job->result, "done") != 0) {
		(void)fprintf(stderr, "%s: systemd's job ended as '%s'\n", what, job->result);
		status = 1;
	}
	sd_bus_message_unref(reply);
	sd_bus_error_free(&error);
	return status;
}

/* ---- start ---- */

static int append_scope(sd_bus_message *m, const char *unit, const char *slice, uint32_t pid,
			const char *description)
{
	int r = sd_bus_message_append(m, "ss", unit, "fail");

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", description,
					  "Slice", "s", slice, "Delegate", "b", true,
					  "DefaultDependencies", "b", false);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "MemoryAccounting", "b", true,
					  "CPUAccounting", "b", true, "IOAccounting", "b", true,
					  "TasksAccounting", "b", true);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, pid);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	return r;
}

/* A failed unit of that name is kept by systemd until it is told to forget it */
static int forget(sd_bus *bus, const char *unit, sd_bus_error *error)
{
	sd_bus_message *m = NULL;
	int r = new_call(bus, "ResetFailedUnit", &m);

	if (r >= 0)
		r = sd_bus_message_append(m, "s", unit);
	if (r >= 0)
		r = sd_bus_call(bus, m, CALL_TIMEOUT_US, error, NULL);
	sd_bus_message_unref(m);
	return r;
}

static int start(sd_bus *bus, char **args)
{
	struct job job = {0};
	sd_bus_message *m = NULL;
	int r = subscribe(bus, &job), status;

	/* Of one that lives this does nothing, and its name stays taken */
	(void)forget(bus, args[0], NULL);
	if (r >= 0)
		r = new_call(bus, "StartTransientUnit", &m);
	if (r >= 0)
		r = append_scope(m, args[0], args[1], (uint32_t)strtoul(args[2], NULL, 10),
				 args[3]);
	status = r < 0 ? fail(args[0], r, NULL) : call_job(bus, m, &job, args[0]);
	sd_bus_message_unref(m);
	return status;
}

/* ---- set ---- */

/* "max" or the last number of the text ("default 100") */
static bool parse_number(const char *text, uint64_t *out)
{
	const char *space = strrchr(text, ' ');
	const char *number = space ? space + 1 : text;
	char *end;

	if (strcmp(number, "max") == 0) {
		*out = UINT64_MAX;
		return true;
	}
	*out = strtoull(number, &end, 10);
	return end != number && !*end;
}

static int append_number(sd_bus_message *m, const char *name, const char *value)
{
	uint64_t number;

	if (!parse_number(value, &number))
		return -EINVAL;
	return sd_bus_message_append(m, "(sv)", name, "t", number);
}

/* "QUOTA PERIOD" in us; per second for systemd, in whole percents of a CPU, upwards */
static int append_quota(sd_bus_message *m, const char *name, const char *value)
{
	uint64_t per_second = UINT64_MAX, period;
	unsigned long long quota;
	int r;

	if (!parse_number(value, &period) || period == 0)
		return -EINVAL;
	if (strncmp(value, "max", 3) != 0) {
		quota = strtoull(value, NULL, 10);
		per_second = (uint64_t)(((__uint128_t)quota * USEC_PER_SEC + period - 1) / period);
		per_second = (per_second + QUOTA_STEP_US - 1) / QUOTA_STEP_US * QUOTA_STEP_US;
	}
	r = sd_bus_message_append(m, "(sv)", name, "t", per_second);
	return r < 0 ? r : sd_bus_message_append(m, "(sv)", "CPUQuotaPeriodUSec", "t", period);
}

/* "0-3,7" as bits; "" for none */
static int parse_list(const char *text, uint8_t mask[MASK_BYTES], size_t *len)
{
	memset(mask, 0, MASK_BYTES);
	*len = 0;
	while (*text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (end == text)
			return -EINVAL;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= MASK_BYTES * 8)
			return -EINVAL;
		for (unsigned long i = first; i <= last; i++)
			mask[i / 8] |= (uint8_t)(1u << i % 8);
		if (last / 8 + 1 > *len)
			*len = last / 8 + 1;
		text = end + (*end == ',');
		if (*end && *end != ',')
			return -EINVAL;
	}
	return 0;
}

static int append_list(sd_bus_message *m, const char *name, const char *value)
{
	uint8_t mask[MASK_BYTES];
	size_t len;
	int r = parse_list(value, mask, &len);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "sv");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', mask, len);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static const struct {
	const char *file, *name;
	int (*append)(sd_bus_message *m, const char *name, const char *value);
} properties[] = {
	{"cpu.max", "CPUQuotaPerSecUSec", append_quota},
	{"cpu.weight", "CPUWeight", append_number},
	{"cpuset.cpus", "AllowedCPUs", append_list},
	{"cpuset.mems", "AllowedMemoryNodes", append_list},
	{"io.weight", "IOWeight", append_number},
	{"memory.high", "MemoryHigh", append_number},
	{"memory.low", "MemoryLow", append_number},
	{"memory.max", "MemoryMax", append_number},
	{"memory.min", "MemoryMin", append_number},
	{"memory.swap.max", "MemorySwapMax", append_number},
	{"pids.max", "TasksMax", append_number},
};

/* What systemd has no property for it does not touch either */
static int append_limit(sd_bus_message *m, const char *limit)
{
	size_t len = strcspn(limit, "=");

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		if (limit[len] && strlen(properties[i].file) == len &&
		    strncmp(properties[i].file, limit, len) == 0)
			return properties[i].append(m, properties[i].name, limit + len + 1);
	}
	return 0;
}

static int set(sd_bus *bus, char **args)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	int r = new_call(bus, "SetUnitProperties", &m), status;

	if (r >= 0)
		r = sd_bus_message_append(m, "sb", args[0], true);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	for (char **limit = args + 1; *limit && r >= 0; limit++)
		r = append_limit(m, *limit);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_call(bus, m, CALL_TIMEOUT_US, &error, NULL);
	status = r < 0 ? fail(args[0], r, &error) : 0;
	sd_bus_message_unref(m);
	sd_bus_error_free(&error);
	return status;
}

/* ---- stop ---- */

static bool is_no_unit(const sd_bus_error *error)
{
	return sd_bus_error_has_name(error, MANAGER ".NoSuchUnit");
}

/* Until the unit is gone, so that its name is free; however the job ends, since systemd kills what stays by itself */
static int stop_unit(sd_bus *bus, const char *unit, struct job *job, sd_bus_error *error)
{
	sd_bus_message *m = NULL, *reply = NULL;
	const char *path = NULL;
	int r = new_call(bus, "StopUnit", &m);

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", unit, "replace");
	if (r >= 0)
		r = sd_bus_call(bus, m, CALL_TIMEOUT_US, error, &reply);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0) {
		r = wait_job(bus, job, path);
		r = r == -ETIMEDOUT ? 0 : r;
	}
	sd_bus_message_unref(m);
	sd_bus_message_unref(reply);
	return r;
}

/* A scope goes by itself when its last process does; a failed one has to be forgotten */
static int stop(sd_bus *bus, char **args)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	struct job job = {0};
	int r = subscribe(bus, &job), status = 0;

	if (r >= 0)
		r = stop_unit(bus, args[0], &job, &error);
	if (r < 0 && !is_no_unit(&error))
		status = fail(args[0], r, &error);
	sd_bus_error_free(&error);
	if (status)
		return status;
	r = forget(bus, args[0], &error);
	if (r < 0 && !is_no_unit(&error))
		status = fail(args[0], r, &error);
	sd_bus_error_free(&error);
	return status;
}

static const struct {
	const char *name;
	int nargs; /* at least, after the name */
	int (*run)(sd_bus *bus, char **args);
} commands[] = {{"start", 4, start}, {"set", 1, set}, {"stop", 1, stop}};

int main(int argc, char **argv)
{
	bool user = argc > 1 && strcmp(argv[1], "--user") == 0;
	char **args = argv + 1 + user;
	int nargs = argc - 1 - user, r, status;
	sd_bus *bus = NULL;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && nargs > 0; i++) {
		if (strcmp(commands[i].name, args[0]) != 0 || nargs - 1 < commands[i].nargs)
			continue;
		r = connect_manager(user, &bus);
		if (r < 0)
			return fail("connecting to systemd", r, NULL);
		status = commands[i].run(bus, args + 1);
		sd_bus_flush_close_unref(bus);
		return status;
	}
	(void)fprintf(stderr, "usage: caisson-systemd [--user] start UNIT SLICE PID DESCRIPTION | "
			      "set UNIT FILE=VALUE… | stop UNIT\n");
	return 2;
}
