/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this agent accepts: names, and parts of a configuration that it would otherwise have to ignore. Refusing with the field's
 * name is better than a container that lacks what was asked for.
 */
#ifndef GUEST_SUPPORT_H
#define GUEST_SUPPORT_H

#include <stdbool.h>

#include "lib/err.h"
#include "oci/config.h"

/** support_id_is_valid() - 1 to AGENT_ID_MAX characters of letters, digits, '_', '+', '-', '.', not "." or ".." */
bool support_id_is_valid(const char *id);
/** support_check_config() - Return: 0, or -ENOTSUP / -EINVAL with the field named in @err */
int support_check_config(const struct oci_config *config, struct err *err);
/** support_check_process() - The same for one process */
int support_check_process(const struct oci_process *process, struct err *err);

#endif
