/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's settings: caisson.json, and the annotations of a container that may override them.
 *
 *   built in ◀── the file ◀── org.caisson.KEY of config.json, if the file's list "annotations" has KEY
 *
 * Only the commands that need a setting read the file: a mistake in it stops nobody from ending a container.
 */
#ifndef RUNTIME_SETTINGS_H
#define RUNTIME_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/config.h"
#include "runtime/cli.h"

#define SETTINGS_FILE_MAX (64u << 10) /* bytes */
#define SETTINGS_ENV "CAISSON_CONFIG"
#define SETTINGS_ANNOTATION_PREFIX "org.caisson."

struct settings {
	char *kernel, *initramfs;	   /* owned, absolute; NULL: the installed ones */
	char *kernel_parameters;	   /* owned; NULL: none */
	uint64_t default_memory_bytes;	   /* of a guest whose container has no limit */
	uint64_t max_memory_bytes;	   /* of any guest; UINT64_MAX: no maximum but the host's */
	uint64_t default_vcpus, max_vcpus; /* the same */
	uint64_t boot_timeout_s, heartbeat_s;
	bool bind_mount_events; /* inotify watchers see what the host changes in bind mounts */
	bool debug;
	uint32_t allowed; /* bit n: the n-th key may be an annotation */
	char *file;	  /* owned: where they are from; NULL: built in */
};

/** settings_defaults() - What is built in; release with settings_release() */
void settings_defaults(struct settings *out);
void settings_release(struct settings *settings);

/**
 * settings_parse() - Read a document
 * @name:	What errors call it; borrowed until the return
 * @out:	Filled on success only
 * Return: 0, -EINVAL, -EFBIG, -ENOMEM
 */
int settings_parse(const char *name, const char *text, size_t len, struct settings *out,
		   struct err *err);

/**
 * settings_load() - The settings in effect: of --config, else $CAISSON_CONFIG, else of the first default file that there is, else built in
 * @out:	Filled on success only
 * Return: 0 or -errno; that a file is missing is an error if it was named
 */
int settings_load(const struct globals *globals, struct settings *out, struct err *err);

/** settings_override() - Apply a container's annotations; Return: 0; -EINVAL for one that is unknown, not allowed or wrong; -ENOMEM */
int settings_override(struct settings *settings, const struct oci_pairs *annotations,
		      struct err *err);

/** settings_key() - The n-th key's name, NULL after the last */
const char *settings_key(size_t n);
/** settings_equal() - Whether they say the same, wherever they are from */
bool settings_equal(const struct settings *a, const struct settings *b);

#endif
