/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a mount in config.json, understood as runc understands them: known words set or clear flags, the rest is the
 * file system's own data.
 */
#ifndef GUEST_MOUNT_OPTIONS_H
#define GUEST_MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "oci/config.h"

#define MOUNT_DATA_MAX 4095 /* bytes that mount(2) takes */
#define MOUNT_PROPAGATIONS_MAX 16

struct mount_options {
	unsigned long flags; /* MS_* for mount(2); MS_BIND and MS_REC for binds */
	uint64_t attr_set,
		attr_clear; /* MOUNT_ATTR_* that the words mean for a bind mount (mount_setattr) */
	uint64_t rec_set,
		rec_clear; /* MOUNT_ATTR_* for the mount and all below: "rro", "rnosuid", … */
	unsigned long propagation
		[MOUNT_PROPAGATIONS_MAX]; /* MS_SHARED …, perhaps with MS_REC, in order */
	unsigned int npropagation;
	bool dev;		       /* "dev" was asked for by word, and no "nodev" after it */
	bool copy_up;		       /* tmpcopyup: a tmpfs begins with what it covers */
	char data[MOUNT_DATA_MAX + 1]; /* joined by commas */
};

/** mount_options_parse() - Return: 0, or -E2BIG when there are too many of them or the data is too long */
int mount_options_parse(const struct oci_strings *options, struct mount_options *out,
			struct err *err);

/** mount_propagation_parse() - MS_* of "rprivate", "shared", …; 0 when it is none of them */
unsigned long mount_propagation_parse(const char *word);

#endif
