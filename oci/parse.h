/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files that parse config.json's sections: config.c, process.c, linux.c, resources.c …. Not for
 * others.
 */
#ifndef OCI_PARSE_H
#define OCI_PARSE_H

#include "oci/config.h"
#include "oci/json.h"

int process_parse(const struct json_at *at, struct oci_process *out, struct err *err);
void process_release(struct oci_process *process);
/** schedule_parse() - process.scheduler, ioPriority and execCPUAffinity */
int schedule_parse(const struct json_at *at, struct oci_process *out, struct err *err);
void schedule_write(struct json_writer *w, const struct oci_process *process);
/** personality_parse() - linux.personality */
int personality_parse(const struct json_at *at, struct oci_config *out, struct err *err);
int linux_parse(const struct json_at *at, struct oci_config *out, struct err *err);
void linux_release(struct oci_config *config);
int resources_parse(const struct json_at *at, struct oci_resources *out, struct err *err);
void resources_release(struct oci_resources *resources);

/* Parts of linux; @at is the linux object */
int namespaces_parse(const struct json_at *at, struct oci_config *out, struct err *err);
int time_offsets_parse(const struct json_at *at, struct oci_config *out, struct err *err);
int intel_rdt_parse(const struct json_at *at, struct oci_config *out, struct err *err);
int memory_policy_parse(const struct json_at *at, struct oci_config *out, struct err *err);
int net_devices_parse(const struct json_at *at, struct oci_config *out, struct err *err);
void linux_host_release(struct oci_config *config);
int mounts_parse(const struct json_at *at, struct oci_config *out, struct err *err);
void mounts_release(struct oci_config *config);
int vm_parse(const struct json_at *at, struct oci_config *out, struct err *err);
void vm_release(struct oci_config *config);
/** config_check() - What concerns several sections; the last thing that is done with a config */
int config_check(const struct json_at *at, struct oci_config *config, struct err *err);

/** idmaps_parse() - An array of id mappings, ranges that do not overlap */
int idmaps_parse(const struct json_at *at, const char *key, struct oci_idmaps *out,
		 struct err *err);
/** list_check() - Refuse a string that is neither NULL nor empty nor a list of CPUs or nodes */
int list_check(const struct json_at *at, const char *key, const char *list, struct err *err);

/** hooks_parse() - The member "hooks" of an object into one list for each kind */
int hooks_parse(const struct json_at *at, struct oci_hooks *out, struct err *err);
void hooks_release(struct oci_hooks *hooks);

/** pairs_parse() - An object of strings, sorted by key, each key once */
int pairs_parse(const struct json_at *at, const char *key, struct oci_pairs *out, struct err *err);
void pairs_release(struct oci_pairs *pairs);
void strings_release(struct oci_strings *strings);

/**
 * array_parse() - An array of objects into an array of structs
 * @size:	Of one struct; @parse gets each zeroed
 * @items, @n:	@n counts those that @parse was called on, also on failure
 */
int array_parse(const struct json_at *at, const char *key, size_t size,
		int (*parse)(const struct json_at *at, void *item, struct err *err), void **items,
		size_t *n, struct err *err);

/** map_parse() - The same for an object of objects, sorted by key, each key once; @parse finds it in @at->name */
int map_parse(const struct json_at *at, const char *key, size_t size,
	      int (*parse)(const struct json_at *at, void *item, struct err *err), void **items,
	      size_t *n, struct err *err);

#endif
