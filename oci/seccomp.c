/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.seccomp: names into numbers.
 *
 * The profile is the engine's, mostly generated. Words that we do not know are errors, since to skip one would give a filter
 * that is not the one asked for; only names of system calls are free, because a profile lists those of every kernel (the
 * compiler skips what no kernel of ours has). Architectures are checked and, but for the ABIs of an x86-64 guest, then
 * forgotten: no process of the guest can make a system call of another one.
 *
 * As runc does: without "flags" the flag is SPEC_ALLOW, "flags": [] means none; TSYNC is accepted and means nothing for the
 * one thread that loads the filter; an object with neither a default action nor rules is no profile.
 */
#include "oci/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "oci/parse.h"

#define DEFAULT_ERRNO EPERM

/* Sorted, for the features document */
static const char *const action_names[] = {
	"SCMP_ACT_ALLOW",	 "SCMP_ACT_ERRNO",	 "SCMP_ACT_KILL",
	"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
	"SCMP_ACT_NOTIFY",	 "SCMP_ACT_TRACE",	 "SCMP_ACT_TRAP",
};
static const enum sysfilter_action actions[ARRAY_SIZE(action_names)] = {
	SYSFILTER_ALLOW,	SYSFILTER_ERRNO,       SYSFILTER_KILL_THREAD,
	SYSFILTER_KILL_PROCESS, SYSFILTER_KILL_THREAD, SYSFILTER_LOG,
	SYSFILTER_NOTIFY,	SYSFILTER_TRACE,       SYSFILTER_TRAP,
};

static const char *const op_names[] = {
	"SCMP_CMP_EQ", "SCMP_CMP_GE",	     "SCMP_CMP_GT", "SCMP_CMP_LE",
	"SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
};
static const enum sysfilter_op ops[ARRAY_SIZE(op_names)] = {
	SYSFILTER_EQ, SYSFILTER_GE,	   SYSFILTER_GT, SYSFILTER_LE,
	SYSFILTER_LT, SYSFILTER_MASKED_EQ, SYSFILTER_NE,
};

static const char *const arch_names[] = {
	"SCMP_ARCH_AARCH64",	 "SCMP_ARCH_ARM",    "SCMP_ARCH_LOONGARCH64",
	"SCMP_ARCH_M68K",	 "SCMP_ARCH_MIPS",   "SCMP_ARCH_MIPS64",
	"SCMP_ARCH_MIPS64N32",	 "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
	"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
	"SCMP_ARCH_PPC",	 "SCMP_ARCH_PPC64",  "SCMP_ARCH_PPC64LE",
	"SCMP_ARCH_RISCV64",	 "SCMP_ARCH_S390",   "SCMP_ARCH_S390X",
	"SCMP_ARCH_SH",		 "SCMP_ARCH_SHEB",   "SCMP_ARCH_X32",
	"SCMP_ARCH_X86",	 "SCMP_ARCH_X86_64",
};

#define FLAG_PREFIX "SECCOMP_FILTER_FLAG_"
#define WAIT_KILLABLE FLAG_PREFIX "WAIT_KILLABLE_RECV"
static const char *const flag_names[] = {
	FLAG_PREFIX "TSYNC",
	FLAG_PREFIX "SPEC_ALLOW",
	FLAG_PREFIX "LOG",
};
static const uint32_t flags[ARRAY_SIZE(flag_names)] = {
	0,
	SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	SECCOMP_FILTER_FLAG_LOG,
};

#define NO_LISTENER "is for a listener, and one on the host cannot serve the processes of a guest"

/* ---- actions ---- */

/* The action under @key and the errno under @errno_key, which only some have */
static int parse_action(const struct json_at *at, const char *key, const char *errno_key,
			enum sysfilter_action *action, uint16_t *data, struct err *err)
{
	struct {
		bool given;
		uint32_t value;
	} number = {0};
	const struct json_field fields[] = {
		{.key = errno_key,
		 .kind = JSON_TO_U32,
		 .offset = offsetof(typeof(number), value),
		 .max = SYSFILTER_TRACE_MAX},
		{0},
	};
	struct json_at here = {.parent = at, .name = key};
	struct json_at errno_at = {.parent = at, .name = errno_key}, member;
	int r = json_member_name(at, key, action_names, ARRAY_SIZE(action_names), err), found;
	bool has_errno;

	if (r < 0)
		return r;
	*action = actions[r];
	if (*action == SYSFILTER_NOTIFY)
		return json_fail(&here, err, "SCMP_ACT_NOTIFY " NO_LISTENER);
	found = json_member(at, errno_key, JSON_NUMBER, &member, err);
	if (found < 0)
		return found;
	has_errno = *action == SYSFILTER_ERRNO || *action == SYSFILTER_TRACE;
	*data = has_errno ? DEFAULT_ERRNO : 0;
	if (!found)
		return 0;
	if (!has_errno)
		return json_fail(&errno_at, err, "%s has no errno", action_names[r]);
	r = json_fill(at, fields, &number, err);
	if (r < 0)
		return r;
	if (*action == SYSFILTER_ERRNO && number.value > SYSFILTER_ERRNO_MAX)
		return json_fail(&errno_at, err, "%u is out of range", number.value);
	*data = (uint16_t)number.value;
	return 0;
}

/* ---- rules ---- */

static int parse_arg(const struct json_at *at, void *item, struct err *err)
{
	static const struct json_field fields[] = {
		{.key = "index",
		 .kind = JSON_TO_U32,
		 .offset = offsetof(struct sysfilter_arg, index),
		 .flags = JSON_REQUIRED,
		 .max = SYSFILTER_ARGS - 1},
		{.key = "value",
		 .kind = JSON_TO_U64,
		 .offset = offsetof(struct sysfilter_arg, value),
		 .flags = JSON_REQUIRED},
		{.key = "valueTwo",
		 .kind = JSON_TO_U64,
		 .offset = offsetof(struct sysfilter_arg, value_two)},
		{0},
	};
	struct sysfilter_arg *arg = item;
	int r = json_fill(at, fields, arg, err);

	if (r < 0)
		return r;
	r = json_member_name(at, "op", op_names, ARRAY_SIZE(op_names), err);
	if (r < 0)
		return r;
	arg->op = ops[r];
	return 0;
}

/* A string list becomes the rule's, also when it is not complete */
static int parse_names(const struct json_at *at, struct sysfilter_rule *rule, struct err *err)
{
	static const struct json_field fields[] = {
		{.key = "names", .kind = JSON_TO_STRINGS, .flags = JSON_REQUIRED},
		{0},
	};
	struct json_at names = {.parent = at, .name = "names"};
	struct oci_strings strings = {0};
	int r = json_fill(at, fields, &strings, err);

	rule->names = (const char *const *)strings.items;
	rule->nnames = strings.n;
	if (r < 0)
		return r;
	if (!strings.n)
		return json_fail(&names, err, "is empty");
	for (size_t i = 0; i < strings.n; i++) {
		struct json_at name = {.parent = &names, .index = i};

		if (!strings.items[i][0])
			return json_fail(&name, err, "is empty");
	}
	return 0;
}

static int parse_rule(const struct json_at *at, void *item, struct err *err)
{
	struct sysfilter_rule *rule = item;
	int r = parse_names(at, rule, err);

	if (r < 0)
		return r;
	r = parse_action(at, "action", "errnoRet", &rule->action, &rule->data, err);
	if (r < 0)
		return r;
	return array_parse(at, "args", sizeof(struct sysfilter_arg), parse_arg,
			   (void **)&rule->args, &rule->nargs, err);
}

/* ---- the rest ---- */

static int find(const struct json_at *at, const char *const *names, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], at->node->text) == 0)
			return (int)i;
	}
	return json_fail(at, err, "'%.64s' is unknown", at->node->text);
}

static int parse_archs(const struct json_at *at, struct sysfilter *filter, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, "architectures", JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&list, JSON_STRING, &it, err)) > 0) {
		r = find(&it, arch_names, ARRAY_SIZE(arch_names), err);
		if (r < 0)
			return r;
		filter->x86 |= strcmp(arch_names[r], "SCMP_ARCH_X86") == 0;
		filter->x32 |= strcmp(arch_names[r], "SCMP_ARCH_X32") == 0;
	}
	return r;
}

static int parse_flags(const struct json_at *at, uint32_t *out, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, "flags", JSON_ARRAY, &list, err);

	if (r < 0)
		return r;
	*out = r ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	if (!r)
		return 0;
	while ((r = json_each(&list, JSON_STRING, &it, err)) > 0) {
		if (strcmp(it.node->text, WAIT_KILLABLE) == 0)
			return json_fail(&it, err, WAIT_KILLABLE " " NO_LISTENER);
		r = find(&it, flag_names, ARRAY_SIZE(flag_names), err);
		if (r < 0)
			return r;
		*out |= flags[r];
	}
	return r;
}

/* Without SCMP_ACT_NOTIFY nobody listens; only what the specification says of the two is checked */
static int check_listener(const struct json_at *at, struct err *err)
{
	struct json_at path, metadata;
	int has_path = json_member(at, "listenerPath", JSON_STRING, &path, err);
	int r;

	if (has_path < 0)
		return has_path;
	r = json_member(at, "listenerMetadata", JSON_STRING, &metadata, err);
	if (r < 0)
		return r;
	has_path = has_path && path.node->text[0];
	if (r && metadata.node->text[0] && !has_path)
		return json_fail(&metadata, err, "is given without listenerPath");
	return 0;
}

static int parse_profile(const struct json_at *at, struct oci_seccomp *seccomp, struct err *err)
{
	struct sysfilter *filter = &seccomp->filter;
	int r = parse_action(at, "defaultAction", "defaultErrnoRet", &filter->default_action,
			     &filter->default_data, err);

	if (r < 0)
		return r;
	r = parse_archs(at, filter, err);
	if (r < 0)
		return r;
	r = parse_flags(at, &seccomp->flags, err);
	if (r < 0)
		return r;
	r = check_listener(at, err);
	if (r < 0)
		return r;
	return array_parse(at, "syscalls", sizeof(struct sysfilter_rule), parse_rule,
			   (void **)&filter->rules, &filter->nrules, err);
}

/* Return: 1 if there is something in it */
static int says_something(const struct json_at *at, struct err *err)
{
	struct json_at action, rules;
	int r = json_member(at, "defaultAction", JSON_STRING, &action, err);

	if (r < 0 || (r > 0 && action.node->text[0]))
		return r;
	r = json_member(at, "syscalls", JSON_ARRAY, &rules, err);
	return r <= 0 ? r : rules.node->n > 0;
}

int oci_seccomp_parse(const struct json_at *linux_at, struct oci_seccomp **out, struct err *err)
{
	struct json_at at;
	int r = json_member(linux_at, "seccomp", JSON_OBJECT, &at, err);

	*out = NULL;
	if (r <= 0)
		return r;
	r = says_something(&at, err);
	if (r <= 0)
		return r;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_sys(err, ENOMEM, "config");
	return parse_profile(&at, *out, err);
}

void oci_seccomp_free(struct oci_seccomp *seccomp)
{
	if (!seccomp)
		return;
	for (size_t i = 0; i < seccomp->filter.nrules; i++) {
		struct sysfilter_rule *rule = &seccomp->filter.rules[i];

		strings_release(
			&(struct oci_strings){.items = (char **)rule->names, .n = rule->nnames});
		free(rule->args);
	}
	free(seccomp->filter.rules);
	free(seccomp);
}

void oci_seccomp_write_features(struct json_writer *w)
{
	json_write_key(w, "actions");
	json_write_open(w, '[');
	for (size_t i = 0; i < ARRAY_SIZE(action_names); i++) {
		if (actions[i] != SYSFILTER_NOTIFY)
			json_write_string(w, action_names[i]);
	}
	json_write_close(w, ']');
	json_write_key(w, "operators");
	json_write_strings(w, op_names, ARRAY_SIZE(op_names));
	json_write_key(w, "archs");
	json_write_strings(w, arch_names, ARRAY_SIZE(arch_names));
	json_write_key(w, "knownFlags");
	json_write_open(w, '[');
	for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
		json_write_string(w, flag_names[i]);
	json_write_string(w, WAIT_KILLABLE);
	json_write_close(w, ']');
	json_write_key(w, "supportedFlags");
	json_write_strings(w, flag_names, ARRAY_SIZE(flag_names));
}
