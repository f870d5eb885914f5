/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounts of config.json. Options stay words here: the guest's agent knows what each means to its kernel; only what makes a mount
 * another kind of mount is looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "oci/parse.h"

#define M(member_, key_, kind_, ...)                                         \
	{                                                                    \
		.key = key_, .kind = JSON_TO_##kind_,                        \
		.offset = offsetof(struct oci_mount, member_), ##__VA_ARGS__ \
	}
static const struct json_field mount_fields[] = {
	M(destination, "destination", STRING, .flags = JSON_REQUIRED),
	M(type, "type", STRING),
	M(source, "source", STRING),
	M(options, "options", STRINGS),
	{0},
};

/* Relative ones are deprecated, and meant from the root */
static int make_absolute(char **path, struct err *err)
{
	char *absolute;

	if ((*path)[0] == '/')
		return 0;
	if (asprintf(&absolute, "/%s", *path) < 0)
		return err_sys(err, ENOMEM, "config");
	free(*path);
	*path = absolute;
	return 0;
}

static void look_at_options(struct oci_mount *mount)
{
	for (size_t i = 0; i < mount->options.n; i++) {
		const char *word = mount->options.items[i];

		if (strcmp(word, "bind") == 0 || strcmp(word, "rbind") == 0)
			mount->is_bind = true;
		if (strcmp(word, "idmap") == 0 || strcmp(word, "ridmap") == 0) {
			mount->is_idmapped = true;
			mount->idmap_recursive = word[0] == 'r';
		}
	}
}

/* As runc: mappings mean an id-mapped mount also without the option */
static int parse_mappings(const struct json_at *at, struct oci_mount *mount, struct err *err)
{
	int r = idmaps_parse(at, "uidMappings", &mount->uid_mappings, err);

	if (r < 0)
		return r;
	r = idmaps_parse(at, "gidMappings", &mount->gid_mappings, err);
	if (r < 0)
		return r;
	if (mount->uid_mappings.n || mount->gid_mappings.n)
		mount->is_idmapped = true;
	if (!mount->is_idmapped)
		return 0;
	if (!mount->is_bind)
		return json_fail(at, err, "id-mapped mounts are only supported for bind-mounts");
	if (!mount->uid_mappings.n != !mount->gid_mappings.n)
		return json_fail(at, err,
				 "id-mapped mounts must have both uid and gid mappings specified");
	return 0;
}

static int parse_mount(const struct json_at *at, void *item, struct err *err)
{
	struct oci_mount *mount = item;
	struct json_at source = {.parent = at, .name = "source"};
	int r = json_fill(at, mount_fields, mount, err);

	if (r < 0)
		return r;
	mount->was_relative = mount->destination[0] != '/';
	r = make_absolute(&mount->destination, err);
	if (r < 0)
		return r;
	mount->is_bind = mount->type && strcmp(mount->type, "bind") == 0;
	look_at_options(mount);
	if (mount->is_bind && (!mount->source || !mount->source[0]))
		return json_fail(&source, err, "is missing");
	return parse_mappings(at, mount, err);
}

int mounts_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return array_parse(at, "mounts", sizeof(struct oci_mount), parse_mount,
			   (void **)&config->mounts, &config->nmounts, err);
}

void mounts_release(struct oci_config *config)
{
	for (size_t i = 0; i < config->nmounts; i++) {
		struct oci_mount *mount = &config->mounts[i];

		free(mount->destination);
		free(mount->type);
		free(mount->source);
		strings_release(&mount->options);
		free(mount->uid_mappings.items);
		free(mount->gid_mappings.items);
	}
	free(config->mounts);
}
