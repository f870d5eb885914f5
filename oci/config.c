/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json to struct oci_config: see oci/config.h. The same code runs on the host, where the
 * bytes come from an engine or a person, and in the guest, where the monitor passes them on.
 *
 * Each section is a table of fields plus what a table cannot say; the larger ones have files of
 * their own, and what concerns several is in check.c. What is filled before an error is freed by oci_config_free(), which takes half-built
 * configs.
 */
#include "oci/config.h"

#include <errno.h>
#include <string.h>

#include "oci/hooks.h"
#include "oci/parse.h"

#define C(member_, key_, kind_, ...)                                          \
	{                                                                     \
		.key = key_, .kind = JSON_TO_##kind_,                         \
		.offset = offsetof(struct oci_config, member_), ##__VA_ARGS__ \
	}

static const struct json_field top_fields[] = {
	C(oci_version, "ociVersion", STRING, .flags = JSON_REQUIRED),
	C(hostname, "hostname", STRING),
	C(domainname, "domainname", STRING),
	{0},
};
static const struct json_field root_fields[] = {
	C(root.path, "path", STRING, .flags = JSON_REQUIRED),
	C(root.readonly, "readonly", BOOL),
	{0},
};
#define H(member_, key_, kind_, ...)                                        \
	{                                                                   \
		.key = key_, .kind = JSON_TO_##kind_,                       \
		.offset = offsetof(struct oci_hook, member_), ##__VA_ARGS__ \
	}
static const struct json_field hook_fields[] = {
	H(path, "path", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	H(args, "args", STRINGS),
	H(env, "env", STRINGS),
	H(timeout_s, "timeout", I32, .min = 1, .max = INT32_MAX),
	{0},
};

/* ---- sections ---- */

/* A number without leading zeroes; Return: behind it, or NULL */
static const char *version_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits == 0 || (text[0] == '0' && digits > 1) ? NULL : text + digits;
}

/* Dotted words after '-' or '+', none empty; Return: behind them, or NULL */
static const char *version_words(const char *text)
{
	do {
		size_t len = strspn(++text, "0123456789-"
					    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

		if (len == 0)
			return NULL;
		text += len;
	} while (*text == '.');
	return text;
}

/* Semantic Versioning 2.0.0: 1.2.3-rc.1+build */
static bool is_semver(const char *text)
{
	for (int i = 0; i < 3; i++) {
		text = version_number(text);
		if (!text || (i < 2 && *text++ != '.'))
			return false;
	}
	if (*text == '-')
		text = version_words(text);
	if (text && *text == '+')
		text = version_words(text);
	return text && !*text;
}

/* Within a major version the specification only adds: unknown fields are ignored, so a newer minor one passes */
static int check_version(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at here = {.parent = at, .name = "ociVersion"};
	const char *v = config->oci_version;

	if (!is_semver(v))
		return json_fail(&here, err, "'%.64s' is not a version like 1.2.0", v);
	if (strncmp(v, "1.", 2) != 0)
		return json_fail(&here, err, "'%.64s' is not a version that is supported (1.x)", v);
	return 0;
}

static int parse_root(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at root;
	int r = json_member(at, "root", JSON_OBJECT, &root, err);

	if (r < 0)
		return r;
	if (r == 0)
		return json_fail(&root, err, "is missing");
	return json_fill(&root, root_fields, config, err);
}

static int parse_process(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at process;
	int r = json_member(at, "process", JSON_OBJECT, &process, err);

	if (r <= 0)
		return r;
	config->has_process = true;
	return process_parse(&process, &config->process, err);
}

static int parse_hook(const struct json_at *at, void *item, struct err *err)
{
	return json_fill(at, hook_fields, item, err);
}

int hooks_parse(const struct json_at *at, struct oci_hooks *out, struct err *err)
{
	struct json_at hooks;
	int r = json_member(at, "hooks", JSON_OBJECT, &hooks, err);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < OCI_HOOK_COUNT; i++) {
		r = array_parse(&hooks, oci_hook_name((enum oci_hook_kind)i),
				sizeof(struct oci_hook), parse_hook, (void **)&out[i].items,
				&out[i].n, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_hooks(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return hooks_parse(at, config->hooks, err);
}

static int parse_annotations(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return pairs_parse(at, "annotations", &config->annotations, err);
}

static int parse_linux(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at section;
	int r = json_member(at, "linux", JSON_OBJECT, &section, err);

	return r <= 0 ? r : linux_parse(&section, config, err);
}

static int parse_config(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static int (*const sections[])(const struct json_at *, struct oci_config *,
				       struct err *) = {
		parse_root,	   parse_process, mounts_parse, parse_hooks,
		parse_annotations, parse_linux,	  vm_parse,	config_check,
	};
	int r;

	if (at->node->type != JSON_OBJECT)
		return json_fail(at, err, "not an object");
	r = json_fill(at, top_fields, config, err);
	if (r < 0)
		return r;
	r = check_version(at, config, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		r = sections[i](at, config, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int oci_config_parse(const char *text, size_t len, struct oci_config **out, struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	CLEANUP(oci_config) struct oci_config *config = NULL;
	struct json_at root;
	int r = json_parse("config.json", text, len, OCI_CONFIG_MAX, &doc, err);

	if (r < 0)
		return r;
	config = calloc(1, sizeof(*config));
	if (!config)
		return err_sys(err, ENOMEM, "config.json");
	root = json_root(doc);
	r = parse_config(&root, config, err);
	if (r < 0)
		return r;
	*out = take_ptr(&config);
	return 0;
}

/* ---- freeing ---- */

static void hook_list_release(struct oci_hooks *hooks)
{
	for (size_t i = 0; i < hooks->n; i++) {
		free(hooks->items[i].path);
		strings_release(&hooks->items[i].args);
		strings_release(&hooks->items[i].env);
	}
	free(hooks->items);
}

void hooks_release(struct oci_hooks *hooks)
{
	for (size_t i = 0; i < OCI_HOOK_COUNT; i++)
		hook_list_release(&hooks[i]);
}

void oci_config_free(struct oci_config *config)
{
	if (!config)
		return;
	free(config->oci_version);
	process_release(&config->process);
	free(config->root.path);
	free(config->hostname);
	free(config->domainname);
	mounts_release(config);
	hooks_release(config->hooks);
	pairs_release(&config->annotations);
	linux_release(config);
	vm_release(config);
	free(config);
}

const char *oci_annotation(const struct oci_config *config, const char *key)
{
	for (size_t i = 0; i < config->annotations.n; i++) {
		if (strcmp(config->annotations.items[i].key, key) == 0)
			return config->annotations.items[i].value;
	}
	return NULL;
}
