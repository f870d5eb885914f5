/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json, and all that is made of it afterwards: what parses must be freed whole; its process, its resources and the record of
 * its hooks must survive being written and parsed again; its limits and its filter are refused with a sentence or fit to be used.
 * (What the filter does is seccomp_fuzz.c's.)
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"
#include "oci/hooks.h"
#include "oci/limits.h"
#include "oci/seccomp.h"
#include "oci/state.h"

#define RULES_MAX 8 /* of the filters that are compiled: more is only slower */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* As in seccomp_fuzz.c */
const char *__lsan_default_suppressions(void)
{
	return "leak:libseccomp.so\n";
}

static void check_process(const struct oci_process *process)
{
	struct oci_process *again = NULL;
	char *text = NULL, *twice = NULL;
	ssize_t n = oci_process_write(process, &text, NULL);

	if (n < 0)
		return; /* larger than a process document may be */
	if (oci_process_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	if (oci_process_write(again, &twice, NULL) != n || strcmp(text, twice) != 0)
		abort();
	oci_process_free(again);
	free(text);
	free(twice);
}

/* What users of the config take for granted */
static void check_values(const struct oci_config *config)
{
	const struct oci_pairs *sysctl = &config->linux_.sysctl;
	uint32_t id;

	for (size_t i = 0; i < config->nmounts; i++) {
		const struct oci_mount *mount = &config->mounts[i];

		if (mount->destination[0] != '/' || (mount->is_bind && !mount->source) ||
		    (mount->is_idmapped && !mount->is_bind) ||
		    !mount->uid_mappings.n != !mount->gid_mappings.n)
			abort();
	}
	for (size_t i = 0; i < sysctl->n; i++) {
		if (sysctl->items[i].key[0] == '.' || strstr(sysctl->items[i].key, ".."))
			abort();
	}
	if (config->linux_.namespaces[OCI_NS_USER].present &&
	    !config->linux_.namespaces[OCI_NS_USER].path &&
	    !oci_idmap_to_host(&config->linux_.uid_mappings, 0, &id))
		abort();
}

static void check_resources(const struct oci_resources *resources)
{
	struct oci_resources *again = NULL;
	char *text = NULL, *twice = NULL;
	ssize_t n = oci_resources_write(resources, &text, NULL);

	if (n < 0)
		return;
	if (oci_resources_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	if (oci_resources_write(again, &twice, NULL) != n || strcmp(text, twice) != 0)
		abort();
	oci_resources_free(again);
	free(text);
	free(twice);
}

/* A file is one name, a value has no line that the kernel would take for another write */
static void check_limits(const struct oci_resources *resources)
{
	static const struct limits_machine machine = {512u << 20, 2};

	for (int side = LIMITS_GUEST; side <= LIMITS_HOST; side++) {
		struct limits limits = {0};
		struct err err = {0};
		int r = limits_plan(resources, (enum limits_side)side, &machine, &limits, &err);

		if (r < 0 && (!err.msg[0] || r == -ENOMEM))
			abort();
		for (size_t i = 0; r == 0 && i < limits.n; i++) {
			const struct limits_write *write = &limits.items[i];

			if (!write->file[0] || strchr(write->file, '/') || !write->value ||
			    (!write->is_unified && strchr(write->value, '\n')))
				abort();
		}
		limits_release(&limits);
	}
	for (size_t i = 0; limits_without_effect(resources, i); i++) {
		if (i > 100)
			abort();
	}
}

static void check_record(const struct oci_config *config)
{
	struct oci_hook_record *record = NULL;
	char *text = NULL;
	ssize_t n = oci_hook_record_write(config, "/b", &text, NULL);

	/* Never larger than twice the config that it is a part of */
	if (n < 0 || oci_hook_record_parse(text, (size_t)n, &record, NULL) < 0)
		abort();
	if (strcmp(record->oci_version, config->oci_version) != 0 ||
	    record->annotations.n != config->annotations.n)
		abort();
	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++) {
		if (record->hooks[kind].n != config->hooks[kind].n)
			abort();
	}
	oci_hook_record_free(record);
	free(text);
}

/* As `create` keeps it, `state` shows it and hooks read it */
static void check_state(const struct oci_config *config)
{
	char id[] = "i", bundle[] = "/b", created[] = "2026-01-02T03:04:05.000000006Z";
	struct oci_state state = {
		.oci_version = config->oci_version,
		.id = id,
		.status = OCI_CREATED,
		.pid = 1,
		.bundle = bundle,
		.rootfs = bundle,
		.created = created,
		.annotations = config->annotations,
	};
	struct oci_state *again = NULL;
	char *text = NULL;
	ssize_t n = oci_state_store(&state, &text, NULL);

	if (n < 0 || oci_state_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	for (size_t i = 0; i < config->annotations.n; i++) {
		if (strcmp(again->annotations.items[i].value, config->annotations.items[i].value) !=
		    0)
			abort();
	}
	oci_state_free(again);
	free(text);
	n = oci_state_hook(&state, OCI_RUNNING, &text, NULL);
	if (n < 0)
		abort();
	free(text);
}

static void check_filter(const struct oci_seccomp *seccomp)
{
	struct sysfilter_program program = {0};
	struct err err = {0};

	if (seccomp->filter.nrules > RULES_MAX)
		return;
	if (sysfilter_compile(&seccomp->filter, &program, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	if (!program.n || program.n > BPF_MAXINSNS)
		abort();
	sysfilter_release(&program);
}

static void check_guest(const struct oci_config *config)
{
	struct err err = {0};
	int r = oci_check_guest(config, &err);

	if ((r < 0) != (err.msg[0] != 0) || (r < 0 && r != -ENOTSUP))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_config *config = NULL;
	struct err err = {0};

	if (oci_config_parse((const char *)data, size, &config, &err) < 0) {
		if (config || !err.msg[0])
			abort();
		return 0;
	}
	if (!config->root.path || !config->oci_version)
		abort();
	check_values(config);
	if (config->has_process)
		check_process(&config->process);
	check_resources(&config->linux_.resources);
	check_limits(&config->linux_.resources);
	check_record(config);
	check_state(config);
	check_guest(config);
	if (config->linux_.seccomp)
		check_filter(config->linux_.seccomp);
	(void)oci_annotation(config, "a");
	oci_config_free(config);
	return 0;
}
