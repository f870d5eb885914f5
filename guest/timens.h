/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_TIMENS_H
#define GUEST_TIMENS_H

#include "lib/err.h"
#include "oci/config.h"

/** timens_enter() - If there is to be one: make a time namespace with linux.timeOffsets and enter it */
int timens_enter(const struct oci_config *config, struct err *err);

#endif
