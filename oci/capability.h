/* SPDX-License-Identifier: Apache-2.0 */
/* Names of Linux capabilities, by number; without libcap, since the agent needs them too. */
#ifndef OCI_CAPABILITY_H
#define OCI_CAPABILITY_H

#include <stddef.h>

#define OCI_CAPABILITIES 41 /* CAP_CHOWN to CAP_CHECKPOINT_RESTORE, Linux 5.9 and later */

/** oci_capability_number() - Number of "CAP_CHOWN" (any case, with or without "CAP_"), -1 if unknown */
int oci_capability_number(const char *name);
/** oci_capability_name() - "CAP_CHOWN", or NULL above OCI_CAPABILITIES; static storage */
const char *oci_capability_name(int number);

#endif
