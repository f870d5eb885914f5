/* SPDX-License-Identifier: Apache-2.0 */
/* What `caisson features` prints (runtime-spec features.md): only what works. */
#ifndef OCI_FEATURES_H
#define OCI_FEATURES_H

#include <sys/types.h>

#include "lib/err.h"

/**
 * oci_features_write() - The features document, indented like runc's
 * @version:	Caisson's own, for the annotation
 * @out:	New text, the caller's; Return: its length or -errno
 */
ssize_t oci_features_write(const char *version, char **out, struct err *err);

#endif
