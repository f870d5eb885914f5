/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a container's hooks in its state directory: as much of config.json as poststart and poststop need, in
 * config.json's own form. The bundle may be gone when they run, and changes of it count no more (runtime.md, "Lifecycle", 2).
 */
#include <errno.h>
#include <stdlib.h>

#include "oci/hooks.h"
#include "oci/json.h"
#include "oci/parse.h"

static const struct json_field fields[] = {
	{.key = "ociVersion",
	 .kind = JSON_TO_STRING,
	 .offset = offsetof(struct oci_hook_record, oci_version),
	 .flags = JSON_REQUIRED},
	{.key = "bundle",
	 .kind = JSON_TO_STRING,
	 .offset = offsetof(struct oci_hook_record, bundle),
	 .flags = JSON_REQUIRED | JSON_ABSOLUTE},
	{0},
};

/* ---- writing ---- */

/* An empty list is not the same as none (oci/hooks.c) */
static void write_strings(struct json_writer *w, const char *key, const struct oci_strings *strings)
{
	if (!strings->items)
		return;
	json_write_key(w, key);
	json_write_strings(w, (const char *const *)strings->items, strings->n);
}

static void write_hook(struct json_writer *w, const struct oci_hook *hook)
{
	json_write_open(w, '{');
	json_write_key(w, "path");
	json_write_string(w, hook->path);
	write_strings(w, "args", &hook->args);
	write_strings(w, "env", &hook->env);
	if (hook->timeout_s) {
		json_write_key(w, "timeout");
		json_write_int(w, hook->timeout_s);
	}
	json_write_close(w, '}');
}

static void write_hooks(struct json_writer *w, const struct oci_hooks *hooks)
{
	json_write_key(w, "hooks");
	json_write_open(w, '{');
	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++) {
		if (!hooks[kind].n)
			continue;
		json_write_key(w, oci_hook_name((enum oci_hook_kind)kind));
		json_write_open(w, '[');
		for (size_t i = 0; i < hooks[kind].n; i++)
			write_hook(w, &hooks[kind].items[i]);
		json_write_close(w, ']');
	}
	json_write_close(w, '}');
}

ssize_t oci_hook_record_write(const struct oci_config *config, const char *bundle, char **out,
			      struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, OCI_STATE_MAX);
	json_write_open(&w, '{');
	json_write_key(&w, "ociVersion");
	json_write_string(&w, config->oci_version);
	json_write_key(&w, "bundle");
	json_write_string(&w, bundle);
	json_write_key(&w, "annotations");
	json_write_open(&w, '{');
	for (size_t i = 0; i < config->annotations.n; i++) {
		json_write_key(&w, config->annotations.items[i].key);
		json_write_string(&w, config->annotations.items[i].value);
	}
	json_write_close(&w, '}');
	write_hooks(&w, config->hooks);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}

/* ---- reading ---- */

static int parse_record(const struct json_at *at, struct oci_hook_record *record, struct err *err)
{
	int r = json_fill(at, fields, record, err);

	if (r < 0)
		return r;
	r = pairs_parse(at, "annotations", &record->annotations, err);
	return r < 0 ? r : hooks_parse(at, record->hooks, err);
}

int oci_hook_record_parse(const char *text, size_t len, struct oci_hook_record **out,
			  struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	CLEANUP(oci_hook_record) struct oci_hook_record *record = NULL;
	struct json_at root;
	int r = json_parse("hooks.json", text, len, OCI_STATE_MAX, &doc, err);

	if (r < 0)
		return r;
	record = calloc(1, sizeof(*record));
	if (!record)
		return err_sys(err, ENOMEM, "hooks.json");
	root = json_root(doc);
	if (root.node->type != JSON_OBJECT)
		return json_fail(&root, err, "not an object");
	r = parse_record(&root, record, err);
	if (r < 0)
		return r;
	*out = take_ptr(&record);
	return 0;
}

void oci_hook_record_free(struct oci_hook_record *record)
{
	if (!record)
		return;
	free(record->oci_version);
	free(record->bundle);
	pairs_release(&record->annotations);
	hooks_release(record->hooks);
	free(record);
}
