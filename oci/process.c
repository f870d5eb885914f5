/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process object (runtime-spec config.md "Process"): of config.json, of `exec --process FILE`,
 * of the agent's Exec request.
 *
 * What is refused here is what execve, setrlimit or capset would refuse later in the guest, where
 * the reason is harder to see. Scheduler, I/O priority and CPU affinity: schedule.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "oci/capability.h"
#include "oci/parse.h"

#define P(type_, key_, kind_, ...)                                           \
	{                                                                    \
		.key = key_, .kind = JSON_TO_##kind_,                        \
		.offset = offsetof(struct oci_process, type_), ##__VA_ARGS__ \
	}
#define ID_MAX (UINT32_MAX - 1) /* (uid_t)-1 means "unchanged" to the kernel */

static const struct json_field process_fields[] = {
	P(terminal, "terminal", BOOL),
	P(args, "args", STRINGS),
	P(env, "env", STRINGS),
	P(cwd, "cwd", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	P(no_new_privileges, "noNewPrivileges", BOOL),
	P(oom_score_adj, "oomScoreAdj", I32,
	  .has_offset = offsetof(struct oci_process, has_oom_score_adj), .min = -1000, .max = 1000),
	P(apparmor_profile, "apparmorProfile", STRING),
	P(selinux_label, "selinuxLabel", STRING),
	{0},
};
static const struct json_field user_fields[] = {
	P(user.uid, "uid", U32, .max = ID_MAX),
	P(user.gid, "gid", U32, .max = ID_MAX),
	P(user.umask, "umask", U32, .has_offset = offsetof(struct oci_process, user.has_umask),
	  .max = 07777),
	{0},
};
static const struct json_field console_fields[] = {
	P(console_size.height, "height", U32, .max = UINT16_MAX),
	P(console_size.width, "width", U32, .max = UINT16_MAX),
	{0},
};

static const char *const cap_set_names[OCI_CAP_SETS] = {
	[OCI_CAP_BOUNDING] = "bounding",       [OCI_CAP_EFFECTIVE] = "effective",
	[OCI_CAP_INHERITABLE] = "inheritable", [OCI_CAP_PERMITTED] = "permitted",
	[OCI_CAP_AMBIENT] = "ambient",
};

/* By resource */
static const char *const rlimit_names[] = {
	[RLIMIT_AS] = "RLIMIT_AS",
	[RLIMIT_CORE] = "RLIMIT_CORE",
	[RLIMIT_CPU] = "RLIMIT_CPU",
	[RLIMIT_DATA] = "RLIMIT_DATA",
	[RLIMIT_FSIZE] = "RLIMIT_FSIZE",
	[RLIMIT_LOCKS] = "RLIMIT_LOCKS",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK",
	[RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE",
	[RLIMIT_NICE] = "RLIMIT_NICE",
	[RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_NPROC] = "RLIMIT_NPROC",
	[RLIMIT_RSS] = "RLIMIT_RSS",
	[RLIMIT_RTPRIO] = "RLIMIT_RTPRIO",
	[RLIMIT_RTTIME] = "RLIMIT_RTTIME",
	[RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
	[RLIMIT_STACK] = "RLIMIT_STACK",
};

static int parse_gids(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at gids, it = {0};
	int r = json_member(at, "additionalGids", JSON_ARRAY, &gids, err);

	if (r <= 0)
		return r;
	out->user.additional_gids = calloc(gids.node->n + 1, sizeof(*out->user.additional_gids));
	if (!out->user.additional_gids)
		return err_sys(err, ENOMEM, "config");
	while ((r = json_each(&gids, JSON_NUMBER, &it, err)) > 0) {
		char *end;
		unsigned long long gid = strtoull(it.node->text, &end, 10);

		if (*end || it.node->text[0] == '-' || gid > ID_MAX)
			return json_fail(&it, err, "%s is out of range", it.node->text);
		out->user.additional_gids[out->user.nadditional_gids++] = (uint32_t)gid;
	}
	return r;
}

static int parse_user(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at user;
	int r = json_member(at, "user", JSON_OBJECT, &user, err);

	if (r <= 0)
		return r;
	r = json_fill(&user, user_fields, out, err);
	if (r < 0)
		return r;
	return parse_gids(&user, out, err);
}

static int parse_cap_set(const struct json_at *at, const char *name, struct oci_process *out,
			 uint64_t *set, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, name, JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&list, JSON_STRING, &it, err)) > 0) {
		int number = oci_capability_number(it.node->text);

		if (number >= 0) {
			*set |= 1ull << number;
		} else if (!out->unknown_caps) {
			out->unknown_caps = strdup(it.node->text);
			if (!out->unknown_caps)
				return err_sys(err, ENOMEM, "config");
		}
	}
	return r;
}

static int parse_caps(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at caps;
	int r = json_member(at, "capabilities", JSON_OBJECT, &caps, err);

	if (r <= 0)
		return r;
	out->has_capabilities = true;
	for (int i = 0; i < OCI_CAP_SETS; i++) {
		r = parse_cap_set(&caps, cap_set_names[i], out, &out->caps[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_rlimit(const struct json_at *at, void *item, struct err *err)
{
	static const struct json_field fields[] = {
		{.key = "soft",
		 .kind = JSON_TO_U64,
		 .offset = offsetof(struct oci_rlimit, soft),
		 .flags = JSON_REQUIRED},
		{.key = "hard",
		 .kind = JSON_TO_U64,
		 .offset = offsetof(struct oci_rlimit, hard),
		 .flags = JSON_REQUIRED},
		{0},
	};
	struct oci_rlimit *limit = item;
	int r = json_member_name(at, "type", rlimit_names, ARRAY_SIZE(rlimit_names), err);

	if (r < 0)
		return r;
	limit->resource = r;
	r = json_fill(at, fields, limit, err);
	if (r < 0)
		return r;
	if (limit->soft > limit->hard)
		return json_fail(at, err, "soft is larger than hard");
	return 0;
}

static int parse_rlimits(const struct json_at *at, struct oci_process *out, struct err *err)
{
	struct json_at list = {.parent = at, .name = "rlimits"};
	uint32_t seen = 0;
	int r = array_parse(at, "rlimits", sizeof(*out->rlimits), parse_rlimit,
			    (void **)&out->rlimits, &out->nrlimits, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < out->nrlimits; i++) {
		if (seen & 1u << out->rlimits[i].resource)
			return json_fail(&list, err, "%s is given twice",
					 rlimit_names[out->rlimits[i].resource]);
		seen |= 1u << out->rlimits[i].resource;
	}
	return 0;
}

static int check_env(const struct json_at *at, const struct oci_process *process, struct err *err)
{
	struct json_at env = {.parent = at, .name = "env"};

	for (size_t i = 0; i < process->env.n; i++) {
		struct json_at item = {.parent = &env, .index = i};

		if (process->env.items[i][0] == '=' || !strchr(process->env.items[i], '='))
			return json_fail(&item, err, "not of the form NAME=VALUE");
	}
	return 0;
}

int process_parse(const struct json_at *at, struct oci_process *out, struct err *err)
{
	static int (*const parts[])(const struct json_at *, struct oci_process *, struct err *) = {
		parse_user,
		parse_caps,
		parse_rlimits,
		schedule_parse,
	};
	struct json_at console;
	int r = json_fill(at, process_fields, out, err);

	if (r < 0)
		return r;
	r = json_member(at, "consoleSize", JSON_OBJECT, &console, err);
	if (r < 0)
		return r;
	if (r > 0) {
		r = json_fill(&console, console_fields, out, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		r = parts[i](at, out, err);
		if (r < 0)
			return r;
	}
	return check_env(at, out, err);
}

void process_release(struct oci_process *process)
{
	strings_release(&process->args);
	strings_release(&process->env);
	free(process->user.additional_gids);
	free(process->cwd);
	free(process->unknown_caps);
	free(process->rlimits);
	free(process->apparmor_profile);
	free(process->selinux_label);
	free(process->exec_cpu_affinity.initial);
	free(process->exec_cpu_affinity.final);
}

void oci_process_free(struct oci_process *process)
{
	if (!process)
		return;
	process_release(process);
	free(process);
}

int oci_process_parse(const char *text, size_t len, struct oci_process **out, struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	CLEANUP(oci_process) struct oci_process *process = NULL;
	struct json_at root;
	int r = json_parse("process", text, len, OCI_PROCESS_MAX, &doc, err);

	if (r < 0)
		return r;
	process = calloc(1, sizeof(*process));
	if (!process)
		return err_sys(err, ENOMEM, "process");
	root = json_root(doc);
	if (root.node->type != JSON_OBJECT)
		return json_fail(&root, err, "not an object");
	r = process_parse(&root, process, err);
	if (r < 0)
		return r;
	*out = take_ptr(&process);
	return 0;
}

/* ---- writing ---- */

static void write_user(struct json_writer *w, const struct oci_process *process)
{
	json_write_key(w, "user");
	json_write_open(w, '{');
	json_write_key(w, "uid");
	json_write_uint(w, process->user.uid);
	json_write_key(w, "gid");
	json_write_uint(w, process->user.gid);
	if (process->user.has_umask) {
		json_write_key(w, "umask");
		json_write_uint(w, process->user.umask);
	}
	if (process->user.nadditional_gids) {
		json_write_key(w, "additionalGids");
		json_write_open(w, '[');
		for (size_t i = 0; i < process->user.nadditional_gids; i++)
			json_write_uint(w, process->user.additional_gids[i]);
		json_write_close(w, ']');
	}
	json_write_close(w, '}');
}

static void write_caps(struct json_writer *w, const struct oci_process *process)
{
	json_write_key(w, "capabilities");
	json_write_open(w, '{');
	for (int set = 0; set < OCI_CAP_SETS; set++) {
		if (!process->caps[set])
			continue;
		json_write_key(w, cap_set_names[set]);
		json_write_open(w, '[');
		for (int i = 0; i < OCI_CAPABILITIES; i++) {
			if (process->caps[set] & 1ull << i)
				json_write_string(w, oci_capability_name(i));
		}
		json_write_close(w, ']');
	}
	json_write_close(w, '}');
}

static void write_rlimits(struct json_writer *w, const struct oci_process *process)
{
	json_write_key(w, "rlimits");
	json_write_open(w, '[');
	for (size_t i = 0; i < process->nrlimits; i++) {
		json_write_open(w, '{');
		json_write_key(w, "type");
		json_write_string(w, rlimit_names[process->rlimits[i].resource]);
		json_write_key(w, "hard");
		json_write_uint(w, process->rlimits[i].hard);
		json_write_key(w, "soft");
		json_write_uint(w, process->rlimits[i].soft);
		json_write_close(w, '}');
	}
	json_write_close(w, ']');
}

static void write_optional(struct json_writer *w, const char *key, const char *text)
{
	if (!text)
		return;
	json_write_key(w, key);
	json_write_string(w, text);
}

static void process_write(struct json_writer *w, const struct oci_process *process)
{
	json_write_open(w, '{');
	if (process->terminal) {
		json_write_key(w, "terminal");
		json_write_bool(w, true);
	}
	if (process->console_size.height || process->console_size.width) {
		json_write_key(w, "consoleSize");
		json_write_open(w, '{');
		json_write_key(w, "height");
		json_write_uint(w, process->console_size.height);
		json_write_key(w, "width");
		json_write_uint(w, process->console_size.width);
		json_write_close(w, '}');
	}
	write_user(w, process);
	json_write_key(w, "args");
	json_write_strings(w, (const char *const *)process->args.items, process->args.n);
	json_write_key(w, "env");
	json_write_strings(w, (const char *const *)process->env.items, process->env.n);
	write_optional(w, "cwd", process->cwd);
	if (process->has_capabilities)
		write_caps(w, process);
	if (process->nrlimits)
		write_rlimits(w, process);
	if (process->no_new_privileges) {
		json_write_key(w, "noNewPrivileges");
		json_write_bool(w, true);
	}
	write_optional(w, "apparmorProfile", process->apparmor_profile);
	if (process->has_oom_score_adj) {
		json_write_key(w, "oomScoreAdj");
		json_write_int(w, process->oom_score_adj);
	}
	write_optional(w, "selinuxLabel", process->selinux_label);
	schedule_write(w, process);
	json_write_close(w, '}');
}

ssize_t oci_process_write(const struct oci_process *process, char **out, struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, OCI_PROCESS_MAX);
	process_write(&w, process);
	return json_write_end(&w, out, err);
}
