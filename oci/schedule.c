/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process runs: process.scheduler, process.ioPriority, process.execCPUAffinity, and
 * linux.personality.
 *
 * All of it is about the guest's kernel: its CPUs are numbered from 0 to the guest's vCPUs less one.
 * What the kernel would take and not act on (a priority for a policy that has none) is refused with
 * runc's rules.
 */
#include <errno.h>
#include <string.h>
#include <sys/personality.h>

#include "oci/parse.h"

#define NICE_MIN (-20)
#define NICE_MAX 19
#define IO_LEVEL_MAX 7

struct word {
	const char *name;
	uint64_t value;
};

/* Numbers are the kernel's (linux/sched.h); SCHED_ISO has one, though no kernel implements it */
static const struct word policies[] = {
	{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},	      {"SCHED_BATCH", 3},
	{"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}, {0},
};
enum { OTHER = 0, FIFO = 1, RR = 2, BATCH = 3, DEADLINE = 6 };
static const struct word policy_flags[] = {
	{"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
	{"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
	{"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}, {0},
};
static const struct word io_classes[] = {
	{"IOPRIO_CLASS_RT", 1},
	{"IOPRIO_CLASS_BE", 2},
	{"IOPRIO_CLASS_IDLE", 3},
	{0},
};
static const struct word domains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}, {0}};

#define P(member_, key_, kind_, ...)                                           \
	{                                                                      \
		.key = key_, .kind = JSON_TO_##kind_,                          \
		.offset = offsetof(struct oci_process, member_), ##__VA_ARGS__ \
	}
static const struct json_field scheduler_fields[] = {
	P(scheduler.nice, "nice", I32),		 P(scheduler.priority, "priority", I32),
	P(scheduler.runtime_ns, "runtime", U64), P(scheduler.deadline_ns, "deadline", U64),
	P(scheduler.period_ns, "period", U64),	 {0},
};
static const struct json_field io_fields[] = {
	P(io_priority.level, "priority", U32, .max = IO_LEVEL_MAX),
	{0},
};
static const struct json_field affinity_fields[] = {
	P(exec_cpu_affinity.initial, "initial", STRING),
	P(exec_cpu_affinity.final, "final", STRING),
	{0},
};

static const char *name_of(const struct word *table, uint64_t value)
{
	while (table->name && table->value != value)
		table++;
	return table->name;
}

static int parse_word(const struct json_at *at, const struct word *table, uint64_t *out,
		      struct err *err)
{
	for (; table->name; table++) {
		if (strcmp(table->name, at->node->text) == 0) {
			*out = table->value;
			return 0;
		}
	}
	return json_fail(at, err, "'%.64s' is unknown", at->node->text);
}

/* A required member that is one of the table's words */
static int parse_choice(const struct json_at *at, const char *key, const struct word *table,
			uint32_t *out, struct err *err)
{
	struct json_at member;
	uint64_t value = 0;
	int r = json_member(at, key, JSON_STRING, &member, err);

	if (r < 0)
		return r;
	if (r == 0)
		return json_fail(&member, err, "is missing");
	r = parse_word(&member, table, &value, err);
	if (r == 0)
		*out = (uint32_t)value;
	return r;
}

/* ---- scheduler ---- */

static int check_scheduler(const struct json_at *at, const struct oci_scheduler *s, struct err *err)
{
	const char *policy = name_of(policies, s->policy);

	if ((s->policy == OTHER || s->policy == BATCH) &&
	    (s->nice < NICE_MIN || s->nice > NICE_MAX))
		return json_fail(at, err, "nice %d is out of range for %s", s->nice, policy);
	if (s->priority && s->policy != FIFO && s->policy != RR)
		return json_fail(at, err, "priority is for SCHED_FIFO and SCHED_RR, not for %s",
				 policy);
	if (s->policy != DEADLINE && (s->runtime_ns || s->deadline_ns || s->period_ns))
		return json_fail(at, err,
				 "runtime, deadline and period are for SCHED_DEADLINE, not for %s",
				 policy);
	return 0;
}

static int parse_flags(const struct json_at *at, struct oci_scheduler *out, struct err *err)
{
	struct json_at flags, it = {0};
	int r = json_member(at, "flags", JSON_ARRAY, &flags, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&flags, JSON_STRING, &it, err)) > 0) {
		uint64_t flag = 0;

		r = parse_word(&it, policy_flags, &flag, err);
		if (r < 0)
			return r;
		out->flags |= flag;
	}
	return r;
}

static int parse_scheduler(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at object;
	int r = json_member(at, "scheduler", JSON_OBJECT, &object, err);

	if (r <= 0)
		return r;
	out->scheduler.present = true;
	r = parse_choice(&object, "policy", policies, &out->scheduler.policy, err);
	if (r < 0)
		return r;
	r = json_fill(&object, scheduler_fields, out, err);
	if (r < 0)
		return r;
	r = parse_flags(&object, &out->scheduler, err);
	return r < 0 ? r : check_scheduler(&object, &out->scheduler, err);
}

static int parse_io_priority(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at object;
	int r = json_member(at, "ioPriority", JSON_OBJECT, &object, err);

	if (r <= 0)
		return r;
	out->io_priority.present = true;
	r = parse_choice(&object, "class", io_classes, &out->io_priority.class_, err);
	return r < 0 ? r : json_fill(&object, io_fields, out, err);
}

/* ---- affinity ---- */

static int check_list(const struct json_at *at, const char *key, const char *list, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};
	cpu_set_t set;

	if (list && *list && oci_cpu_set(list, &set) < 0)
		return json_fail(&here, err, "'%.64s' is not a list of CPUs", list);
	return 0;
}

static int parse_affinity(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at object;
	int r = json_member(at, "execCPUAffinity", JSON_OBJECT, &object, err);

	if (r <= 0)
		return r;
	r = json_fill(&object, affinity_fields, out, err);
	if (r < 0)
		return r;
	r = check_list(&object, "initial", out->exec_cpu_affinity.initial, err);
	return r < 0 ? r : check_list(&object, "final", out->exec_cpu_affinity.final, err);
}

int schedule_parse(const struct json_at *at, struct oci_process *out, struct err *err)
{
	int r = parse_scheduler(at, out, err);

	if (r < 0)
		return r;
	r = parse_io_priority(at, out, err);
	return r < 0 ? r : parse_affinity(at, out, err);
}

/* ---- personality ---- */

int personality_parse(const struct json_at *at, struct oci_config *out, struct err *err)
{
	struct json_at object, flags;
	int r = json_member(at, "personality", JSON_OBJECT, &object, err);

	if (r <= 0)
		return r;
	r = parse_choice(&object, "domain", domains, &out->linux_.personality, err);
	if (r < 0)
		return r;
	out->linux_.has_personality = true;
	r = json_member(&object, "flags", JSON_ARRAY, &flags, err);
	if (r > 0 && flags.node->n)
		return json_fail(&flags, err, "none is defined");
	return r < 0 ? r : 0;
}

/* ---- writing ---- */

static void write_number(struct json_writer *w, const char *key, uint64_t value)
{
	if (!value)
		return;
	json_write_key(w, key);
	json_write_uint(w, value);
}

static void write_scheduler(struct json_writer *w, const struct oci_scheduler *s)
{
	json_write_key(w, "scheduler");
	json_write_open(w, '{');
	json_write_key(w, "policy");
	json_write_string(w, name_of(policies, s->policy));
	if (s->nice) {
		json_write_key(w, "nice");
		json_write_int(w, s->nice);
	}
	if (s->priority) {
		json_write_key(w, "priority");
		json_write_int(w, s->priority);
	}
	if (s->flags) {
		json_write_key(w, "flags");
		json_write_open(w, '[');
		for (const struct word *flag = policy_flags; flag->name; flag++) {
			if (s->flags & flag->value)
				json_write_string(w, flag->name);
		}
		json_write_close(w, ']');
	}
	write_number(w, "runtime", s->runtime_ns);
	write_number(w, "deadline", s->deadline_ns);
	write_number(w, "period", s->period_ns);
	json_write_close(w, '}');
}

static void write_list(struct json_writer *w, const char *key, const char *list)
{
	if (!list || !*list)
		return;
	json_write_key(w, key);
	json_write_string(w, list);
}

void schedule_write(struct json_writer *w, const struct oci_process *process)
{
	const struct oci_cpu_affinity *affinity = &process->exec_cpu_affinity;

	if (process->scheduler.present)
		write_scheduler(w, &process->scheduler);
	if (process->io_priority.present) {
		json_write_key(w, "ioPriority");
		json_write_open(w, '{');
		json_write_key(w, "class");
		json_write_string(w, name_of(io_classes, process->io_priority.class_));
		json_write_key(w, "priority");
		json_write_uint(w, process->io_priority.level);
		json_write_close(w, '}');
	}
	if ((affinity->initial && *affinity->initial) || (affinity->final && *affinity->final)) {
		json_write_key(w, "execCPUAffinity");
		json_write_open(w, '{');
		write_list(w, "initial", affinity->initial);
		write_list(w, "final", affinity->final);
		json_write_close(w, '}');
	}
}
