/* SPDX-License-Identifier: Apache-2.0 */
/* state.json: see oci/state.h. */
#include "oci/state.h"

#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define S(member_, key_, kind_, ...)                                         \
	{                                                                    \
		.key = key_, .kind = JSON_TO_##kind_,                        \
		.offset = offsetof(struct oci_state, member_), ##__VA_ARGS__ \
	}
#define PID_LIMIT (1 << 22) /* PID_MAX_LIMIT of the kernel */

static const struct json_field fields[] = {
	S(oci_version, "ociVersion", STRING, .flags = JSON_REQUIRED),
	S(id, "id", STRING, .flags = JSON_REQUIRED),
	S(pid, "pid", I32, .flags = JSON_REQUIRED, .min = 1, .max = PID_LIMIT),
	S(start_time, "pidStartTime", U64, .flags = JSON_REQUIRED),
	S(boot_id, "bootID", STRING),
	S(bundle, "bundle", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	S(rootfs, "rootfs", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	S(created, "created", STRING, .flags = JSON_REQUIRED),
	S(cgroup, "cgroup", STRING, .flags = JSON_ABSOLUTE),
	S(guest_memory_bytes, "guestMemory", U64, .max = INT64_MAX),
	S(guest_vcpus, "guestCPUs", U32, .max = 65535),
	S(memory_limit, "memoryLimit", I64, .min = -1, .max = INT64_MAX),
	S(memory_swap, "memorySwap", I64, .min = -1, .max = INT64_MAX),
	{0},
};

static const char *const status_names[OCI_STATUS_COUNT] = {
	[OCI_CREATING] = "creating", [OCI_CREATED] = "created", [OCI_RUNNING] = "running",
	[OCI_PAUSED] = "paused",     [OCI_STOPPED] = "stopped",
};

bool oci_id_is_valid(const char *id)
{
	size_t len = strlen(id);

	if (len == 0 || len > OCI_ID_MAX || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") ==
	       len;
}

const char *oci_status_name(enum oci_status status)
{
	return status < OCI_STATUS_COUNT ? status_names[status] : "unknown";
}

/* Has no ".." and no empty component, so that joining it to the cgroup mount stays below that */
static bool cgroup_is_sane(const char *path)
{
	for (const char *p = path; (p = strchr(p, '/'));) {
		size_t len = strcspn(++p, "/");

		if (len == 0 || (len == 1 && p[0] == '.') ||
		    (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

static int parse_status(const struct json_at *at, struct oci_state *state, struct err *err)
{
	struct json_at status;
	int r = json_member(at, "status", JSON_STRING, &status, err);

	if (r < 0)
		return r;
	if (r == 0)
		return json_fail(&status, err, "is missing");
	for (int i = OCI_CREATED; i <= OCI_RUNNING; i++) {
		if (strcmp(status.node->text, status_names[i]) == 0) {
			state->status = (enum oci_status)i;
			return 0;
		}
	}
	return json_fail(&status, err, "'%.64s' is unknown", status.node->text);
}

static int parse_state(const struct json_at *at, struct oci_state *state, struct err *err)
{
	int r;

	if (at->node->type != JSON_OBJECT)
		return json_fail(at, err, "not an object");
	r = json_fill(at, fields, state, err);
	if (r < 0)
		return r;
	if (!oci_id_is_valid(state->id))
		return json_fail(at, err, "invalid container ID format");
	if (state->cgroup && state->cgroup[0] && !cgroup_is_sane(state->cgroup))
		return json_fail(at, err, "cgroup: '%.200s' is not a cgroup's path", state->cgroup);
	r = parse_status(at, state, err);
	if (r < 0)
		return r;
	return pairs_parse(at, "annotations", &state->annotations, err);
}

int oci_state_parse(const char *text, size_t len, struct oci_state **out, struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	CLEANUP(oci_state) struct oci_state *state = NULL;
	struct json_at root;
	int r = json_parse("state.json", text, len, OCI_STATE_MAX, &doc, err);

	if (r < 0)
		return r;
	state = calloc(1, sizeof(*state));
	if (!state)
		return err_sys(err, ENOMEM, "state.json");
	root = json_root(doc);
	r = parse_state(&root, state, err);
	if (r < 0)
		return r;
	*out = take_ptr(&state);
	return 0;
}

void oci_state_free(struct oci_state *state)
{
	if (!state)
		return;
	free(state->oci_version);
	free(state->id);
	free(state->boot_id);
	free(state->bundle);
	free(state->rootfs);
	free(state->created);
	free(state->cgroup);
	pairs_release(&state->annotations);
	free(state);
}

static void member(struct json_writer *w, const char *key, const char *value)
{
	json_write_key(w, key);
	json_write_string(w, value ? value : "");
}

static void write_annotations(struct json_writer *w, const struct oci_pairs *annotations)
{
	if (annotations->n == 0)
		return;
	json_write_key(w, "annotations");
	json_write_open(w, '{');
	for (size_t i = 0; i < annotations->n; i++)
		member(w, annotations->items[i].key, annotations->items[i].value);
	json_write_close(w, '}');
}

/* The members common to the file and to what is shown, in runc's order */
static void write_common(struct json_writer *w, const struct oci_state *state,
			 enum oci_status status)
{
	member(w, "ociVersion", state->oci_version);
	member(w, "id", state->id);
	json_write_key(w, "pid");
	json_write_int(w, status == OCI_STOPPED ? 0 : state->pid);
	member(w, "status", oci_status_name(status));
	member(w, "bundle", state->bundle);
	member(w, "rootfs", state->rootfs);
	member(w, "created", state->created);
	write_annotations(w, &state->annotations);
}

ssize_t oci_state_store(const struct oci_state *state, char **out, struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, OCI_STATE_MAX);
	json_write_open(&w, '{');
	write_common(&w, state, state->status);
	json_write_key(&w, "pidStartTime");
	json_write_uint(&w, state->start_time);
	member(&w, "bootID", state->boot_id);
	member(&w, "cgroup", state->cgroup);
	json_write_key(&w, "guestMemory");
	json_write_uint(&w, state->guest_memory_bytes);
	json_write_key(&w, "guestCPUs");
	json_write_uint(&w, state->guest_vcpus);
	json_write_key(&w, "memoryLimit");
	json_write_int(&w, state->memory_limit);
	json_write_key(&w, "memorySwap");
	json_write_int(&w, state->memory_swap);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}

void oci_state_print(struct json_writer *w, const struct oci_state *state, enum oci_status status,
		     const char *owner)
{
	json_write_open(w, '{');
	write_common(w, state, status);
	member(w, "owner", owner);
	json_write_close(w, '}');
}

ssize_t oci_state_hook(const struct oci_state *state, enum oci_status status, char **out,
		       struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, OCI_STATE_MAX);
	json_write_open(&w, '{');
	member(&w, "ociVersion", state->oci_version);
	member(&w, "id", state->id);
	member(&w, "status", oci_status_name(status));
	if (state->pid && status != OCI_STOPPED) {
		json_write_key(&w, "pid");
		json_write_int(&w, state->pid);
	}
	member(&w, "bundle", state->bundle);
	write_annotations(&w, &state->annotations);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}
