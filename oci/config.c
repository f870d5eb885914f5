/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json to struct oci_config: see oci/config.h. The same code runs on the host, where the
 * bytes come from an engine or a person, and in the guest, where the monitor passes them on.
 *
 * Each section is a table of fields plus what a table cannot say; process.c and linux.c have
 * theirs. What is filled before an error is freed by oci_config_free(), which takes half-built
 * configs.
 */
#include "oci/config.h"

#include <errno.h>
#include <string.h>

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
static const struct json_field kernel_fields[] = {
	C(vm.kernel_path, "path", STRING, .flags = JSON_ABSOLUTE),
	C(vm.initrd_path, "initrd", STRING, .flags = JSON_ABSOLUTE),
	C(vm.kernel_parameters, "parameters", STRINGS),
	{0},
};
static const struct json_field hw_fields[] = {
	C(vm.memory_bytes, "memory", U64, .max = INT64_MAX),
	C(vm.vcpus, "vcpus", U32, .max = 65535),
	{0},
};

#define M(member_, key_, kind_, ...)                                         \
	{                                                                    \
		.key = key_, .kind = JSON_TO_##kind_,                        \
		.offset = offsetof(struct oci_mount, member_), ##__VA_ARGS__ \
	}
static const struct json_field mount_fields[] = {
	M(destination, "destination", STRING, .flags = JSON_REQUIRED | JSON_ABSOLUTE),
	M(type, "type", STRING),
	M(source, "source", STRING),
	M(options, "options", STRINGS),
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

static const char *const hook_names[OCI_HOOK_COUNT] = {
	[OCI_HOOK_PRESTART] = "prestart",
	[OCI_HOOK_CREATE_RUNTIME] = "createRuntime",
	[OCI_HOOK_CREATE_CONTAINER] = "createContainer",
	[OCI_HOOK_START_CONTAINER] = "startContainer",
	[OCI_HOOK_POSTSTART] = "poststart",
	[OCI_HOOK_POSTSTOP] = "poststop",
};

/* ---- sections ---- */

static int check_version(const struct json_at *at, const struct oci_config *config, struct err *err)
{
	struct json_at here = {.parent = at, .name = "ociVersion"};
	const char *v = config->oci_version;

	if (v[0] != '1' || v[1] != '.' || v[2] < '0' || v[2] > '9')
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

static int parse_mount(const struct json_at *at, void *item, struct err *err)
{
	struct oci_mount *mount = item;
	int r = json_fill(at, mount_fields, mount, err);

	if (r < 0)
		return r;
	mount->is_bind = mount->type && strcmp(mount->type, "bind") == 0;
	for (size_t i = 0; i < mount->options.n; i++) {
		if (strcmp(mount->options.items[i], "bind") == 0 ||
		    strcmp(mount->options.items[i], "rbind") == 0)
			mount->is_bind = true;
	}
	if (mount->is_bind && (!mount->source || !mount->source[0])) {
		struct json_at source = {.parent = at, .name = "source"};

		return json_fail(&source, err, "is missing");
	}
	return 0;
}

static int parse_mounts(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return array_parse(at, "mounts", sizeof(struct oci_mount), parse_mount,
			   (void **)&config->mounts, &config->nmounts, err);
}

static int parse_hook(const struct json_at *at, void *item, struct err *err)
{
	return json_fill(at, hook_fields, item, err);
}

static int parse_hooks(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at hooks;
	int r = json_member(at, "hooks", JSON_OBJECT, &hooks, err);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < OCI_HOOK_COUNT; i++) {
		r = array_parse(&hooks, hook_names[i], sizeof(struct oci_hook), parse_hook,
				(void **)&config->hooks[i].items, &config->hooks[i].n, err);
		if (r < 0)
			return r;
	}
	return 0;
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

static int parse_vm(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at vm, part;
	int r = json_member(at, "vm", JSON_OBJECT, &vm, err);

	if (r <= 0)
		return r;
	r = json_member(&vm, "kernel", JSON_OBJECT, &part, err);
	if (r > 0)
		r = json_fill(&part, kernel_fields, config, err);
	if (r < 0)
		return r;
	r = json_member(&vm, "hwConfig", JSON_OBJECT, &part, err);
	return r <= 0 ? r : json_fill(&part, hw_fields, config, err);
}

static int parse_config(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static int (*const sections[])(const struct json_at *, struct oci_config *,
				       struct err *) = {
		parse_root,	   parse_process, parse_mounts, parse_hooks,
		parse_annotations, parse_linux,	  parse_vm,
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

static void hooks_release(struct oci_hooks *hooks)
{
	for (size_t i = 0; i < hooks->n; i++) {
		free(hooks->items[i].path);
		strings_release(&hooks->items[i].args);
		strings_release(&hooks->items[i].env);
	}
	free(hooks->items);
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
	for (size_t i = 0; i < config->nmounts; i++) {
		free(config->mounts[i].destination);
		free(config->mounts[i].type);
		free(config->mounts[i].source);
		strings_release(&config->mounts[i].options);
	}
	free(config->mounts);
	for (size_t i = 0; i < OCI_HOOK_COUNT; i++)
		hooks_release(&config->hooks[i]);
	pairs_release(&config->annotations);
	linux_release(config);
	free(config->vm.kernel_path);
	free(config->vm.initrd_path);
	strings_release(&config->vm.kernel_parameters);
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
