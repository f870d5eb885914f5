/* SPDX-License-Identifier: Apache-2.0 */
/* What `caisson features` prints (runtime-spec features.md): only what works. */
#ifndef OCI_FEATURES_H
#define OCI_FEATURES_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/err.h"

/**
 * oci_features_write() - The features document, indented like runc's
 * @version:	Caisson's own, for the annotation
 * @out:	New text, the caller's; Return: its length or -errno
 */
ssize_t oci_features_write(const char *version, char **out, struct err *err);

/** oci_features_mount_option() - Is @word an option of mounts that we give a meaning? Else it is the file system's, as "size=1m" */
bool oci_features_mount_option(const char *word);

#endif
