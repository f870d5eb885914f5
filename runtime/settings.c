/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's settings: see runtime/settings.h; for people caisson.json(5).
 *
 * Two sources, one table: a key of the file and the annotation of the same name take the same values and give the same errors. The
 * file is the operator's and is still read as foreign bytes: capped, no key unknown or twice, each value checked. An annotation is a
 * stranger's (an image's or a pod's author wrote it); those that reach beyond the container's own guest, by naming a file of the
 * host's or by lifting a maximum, are not in the built-in list.
 */
#include "runtime/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "oci/json.h"
#include "runtime/size.h"
#include "shim/control.h"

#define FILE_NAME "/caisson/caisson.json"
#define ALLOWED_KEY "annotations"
#define PARAMETERS_MAX 1000 /* bytes: about half of a kernel's command line */

enum kind { NUMBER, BOOL, PATH, TEXT };

#define K(name_, kind_, member_) \
	.name = name_, .kind = kind_, .offset = offsetof(struct settings, member_)

static const struct key {
	const char *name;
	enum kind kind;
	size_t offset; /* in struct settings */
	bool allowed;  /* in the built-in list */
	uint64_t min, max;
} keys[] = {
	{K("kernel", PATH, kernel)},
	{K("initramfs", PATH, initramfs)},
	{K("kernel-parameters", TEXT, kernel_parameters)},
	{K("default-memory-bytes", NUMBER, default_memory_bytes), true, SIZE_MEMORY_MIN, INT64_MAX},
	{K("max-memory-bytes", NUMBER, max_memory_bytes), false, SIZE_MEMORY_MIN, INT64_MAX},
	{K("default-vcpus", NUMBER, default_vcpus), true, 1, SIZE_VCPUS_MAX},
	{K("max-vcpus", NUMBER, max_vcpus), false, 1, SIZE_VCPUS_MAX},
	{K("boot-timeout-seconds", NUMBER, boot_timeout_s), true, 1, MONITOR_SECONDS_MAX},
	{K("heartbeat-seconds", NUMBER, heartbeat_s), true, 1, MONITOR_SECONDS_MAX},
	{K("bind-mount-events", BOOL, bind_mount_events), true},
	{K("debug", BOOL, debug)},
};

static const enum json_type json_types[] = {
	[NUMBER] = JSON_NUMBER, [BOOL] = JSON_BOOL, [PATH] = JSON_STRING, [TEXT] = JSON_STRING};

const char *settings_key(size_t n)
{
	return n < ARRAY_SIZE(keys) ? keys[n].name : NULL;
}

/* Return: the key's number, or -1 */
static int find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

void settings_defaults(struct settings *out)
{
	*out = (struct settings){
		.default_memory_bytes = SIZE_MEMORY_DEFAULT,
		.max_memory_bytes = UINT64_MAX,
		.default_vcpus = SIZE_VCPUS_DEFAULT,
		.max_vcpus = SIZE_VCPUS_MAX,
		.boot_timeout_s = MONITOR_BOOT_TIMEOUT_S,
		.heartbeat_s = MONITOR_HEARTBEAT_S,
		.bind_mount_events = true,
	};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		out->allowed |= keys[i].allowed ? 1u << i : 0;
}

void settings_release(struct settings *settings)
{
	free(settings->kernel);
	free(settings->initramfs);
	free(settings->kernel_parameters);
	free(settings->file);
	*settings = (struct settings){0};
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *of_a = (const char *)a + keys[i].offset;
		const char *of_b = (const char *)b + keys[i].offset;
		bool same;

		if (keys[i].kind == NUMBER)
			same = *(const uint64_t *)of_a == *(const uint64_t *)of_b;
		else if (keys[i].kind == BOOL)
			same = *(const bool *)of_a == *(const bool *)of_b;
		else
			same = same_text(*(char *const *)of_a, *(char *const *)of_b);
		if (!same)
			return false;
	}
	return a->allowed == b->allowed;
}

/* ---- one value, as text ---- */

static int set_number(const struct key *key, const char *text, uint64_t *out, struct err *err)
{
	unsigned long long value = 0;
	char *end = NULL;

	errno = 0;
	if (text[0] >= '0' && text[0] <= '9')
		value = strtoull(text, &end, 10);
	if (!end || errno || *end || value < key->min || value > key->max)
		return err_set(err, EINVAL, "'%.64s' is not a number from %" PRIu64 " to %" PRIu64,
			       text, key->min, key->max);
	*out = value;
	return 0;
}

static int set_bool(const char *text, bool *out, struct err *err)
{
	bool on = strcmp(text, "true") == 0;

	if (!on && strcmp(text, "false") != 0)
		return err_set(err, EINVAL, "'%.64s' is neither 'true' nor 'false'", text);
	*out = on;
	return 0;
}

/* Empty: as if it were not given */
static int set_text(const struct key *key, const char *text, char **out, struct err *err)
{
	char *copy = NULL;

	if (key->kind == PATH && text[0] && text[0] != '/')
		return err_set(err, EINVAL, "'%.200s' is not absolute", text);
	for (const char *c = text; key->kind == TEXT && *c; c++) {
		if (*c < ' ' || *c > '~')
			return err_set(err, EINVAL, "has characters that are not printable ASCII");
	}
	if (key->kind == TEXT && strlen(text) > PARAMETERS_MAX)
		return err_set(err, EINVAL, "is longer than %d bytes", PARAMETERS_MAX);
	if (text[0]) {
		copy = strdup(text);
		if (!copy)
			return err_sys(err, ENOMEM, "out of memory");
	}
	free(*out);
	*out = copy;
	return 0;
}

static int set_value(const struct key *key, const char *text, struct settings *settings,
		     struct err *err)
{
	void *to = (char *)settings + key->offset;

	switch (key->kind) {
	case NUMBER:
		return set_number(key, text, to, err);
	case BOOL:
		return set_bool(text, to, err);
	default:
		return set_text(key, text, to, err);
	}
}

/* What concerns two keys */
static int check(const struct settings *s, struct err *err)
{
	if (s->default_memory_bytes > s->max_memory_bytes)
		return err_set(err, EINVAL,
			       "default-memory-bytes: %" PRIu64
			       " is more than max-memory-bytes, %" PRIu64,
			       s->default_memory_bytes, s->max_memory_bytes);
	if (s->default_vcpus > s->max_vcpus)
		return err_set(err, EINVAL,
			       "default-vcpus: %" PRIu64 " is more than max-vcpus, %" PRIu64,
			       s->default_vcpus, s->max_vcpus);
	return 0;
}

/* ---- the file ---- */

static int read_allowed(const struct json_at *root, struct settings *out, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(root, ALLOWED_KEY, JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	out->allowed = 0;
	while ((r = json_each(&list, JSON_STRING, &it, err)) > 0) {
		int n = find_key(it.node->text);

		if (n < 0)
			return json_fail(&it, err, "'%.64s' is no key that can be an annotation",
					 it.node->text);
		out->allowed |= 1u << n;
	}
	return r;
}

static int read_key(const struct json_at *root, const struct key *key, struct settings *out,
		    struct err *err)
{
	struct json_at at;
	struct err why = {0};
	int r = json_member(root, key->name, json_types[key->kind], &at, err);
	const char *text;

	if (r <= 0)
		return r;
	text = key->kind != BOOL ? at.node->text : at.node->boolean ? "true" : "false";
	r = set_value(key, text, out, &why);
	if (r == -EINVAL)
		return json_fail(&at, err, "%s", why.msg);
	return r < 0 ? err_set(err, -r, "%s: %s", root->name, why.msg) : 0;
}

/* A key that is misspelled, or written a second time further down, would be a setting without effect */
static int check_names(const struct json_at *root, struct err *err)
{
	uint32_t seen = 0;

	for (const struct json *node = root->node->first; node; node = node->next) {
		struct json_at at = {.node = node, .parent = root, .name = node->key};
		int n = strcmp(node->key, ALLOWED_KEY) == 0 ? (int)ARRAY_SIZE(keys)
							    : find_key(node->key);

		if (n < 0)
			return json_fail(&at, err, "is unknown");
		if (seen & 1u << n)
			return json_fail(&at, err, "is given twice");
		seen |= 1u << n;
	}
	return 0;
}

static int read_document(const struct json_at *root, struct settings *out, struct err *err)
{
	int r;

	if (root->node->type != JSON_OBJECT)
		return json_fail(root, err, "not an object");
	r = check_names(root, err);
	for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++)
		r = read_key(root, &keys[i], out, err);
	if (r == 0)
		r = read_allowed(root, out, err);
	if (r < 0)
		return r;
	r = check(out, err);
	if (r < 0)
		err_prefix(err, "%s", root->name);
	return r;
}

int settings_parse(const char *name, const char *text, size_t len, struct settings *out,
		   struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	struct settings settings;
	struct json_at root;
	int r = json_parse_commented(name, text, len, SETTINGS_FILE_MAX, &doc, err);

	if (r < 0)
		return r;
	settings_defaults(&settings);
	root = json_root(doc);
	r = read_document(&root, &settings, err);
	if (r < 0)
		settings_release(&settings);
	else
		*out = settings;
	return r;
}

/* Return: 1; 0 if there is no such file; -errno */
static int load_file(const char *path, struct settings *out, struct err *err)
{
	cleanup_close int fd = io_open_regular(path);
	cleanup_free char *text = NULL, *name = NULL;
	struct settings settings;
	ssize_t n;
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd == -EINVAL)
		return err_set(err, EINVAL, "configuration '%s': not a regular file", path);
	if (fd < 0)
		return err_sys(err, -fd, "configuration '%s'", path);
	n = io_read_open(fd, path, SETTINGS_FILE_MAX, &text, err);
	if (n < 0)
		return (int)n;
	name = strdup(path);
	if (!name)
		return err_sys(err, ENOMEM, "configuration '%s'", path);
	r = settings_parse(path, text, (size_t)n, &settings, err);
	if (r < 0)
		return r;
	settings.file = take_ptr(&name);
	*out = settings;
	return 1;
}

int settings_load(const struct globals *globals, struct settings *out, struct err *err)
{
	static const char *const places[] = {CAISSON_SYSCONFDIR FILE_NAME,
					     CAISSON_DATADIR FILE_NAME};
	const char *named = globals->config, *by = "--config";
	int r = 0;

	if (!named || !named[0]) {
		named = getenv(SETTINGS_ENV);
		by = SETTINGS_ENV;
	}
	if (named && named[0]) {
		r = load_file(named, out, err);
		if (r == 0)
			return err_set(err, ENOENT, "%s: '%s' is missing", by, named);
		return r < 0 ? r : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(places) && r == 0; i++)
		r = load_file(places[i], out, err);
	if (r == 0)
		settings_defaults(out);
	return r < 0 ? r : 0;
}

/* ---- annotations ---- */

static int override(struct settings *settings, const struct oci_pair *pair, struct err *err)
{
	int n = find_key(pair->key + strlen(SETTINGS_ANNOTATION_PREFIX));
	int r;

	/* No error: the specification's config.md, Annotations, "Implementations ... MUST NOT generate an error" */
	if (n < 0) {
		log_warn("config.json: annotations: %.100s is no key of the configuration: it has "
			 "no effect",
			 pair->key);
		return 0;
	}
	if (!(settings->allowed & 1u << n))
		return err_set(err, EINVAL,
			       "%s: is not allowed here: the list '" ALLOWED_KEY
			       "' of %s does not have it",
			       pair->key,
			       settings->file ? settings->file : "the built-in configuration");
	r = set_value(&keys[n], pair->value, settings, err);
	if (r < 0)
		err_prefix(err, "%s", pair->key);
	return r;
}

int settings_override(struct settings *settings, const struct oci_pairs *annotations,
		      struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < annotations->n && r == 0; i++) {
		if (strncmp(annotations->items[i].key, SETTINGS_ANNOTATION_PREFIX,
			    strlen(SETTINGS_ANNOTATION_PREFIX)) == 0)
			r = override(settings, &annotations->items[i], err);
	}
	if (r == 0)
		r = check(settings, err);
	if (r < 0)
		err_prefix(err, "config.json: annotations");
	return r;
}
