/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of `caisson events`, in the shape of runc's (its types.Event and types.Stats). */
#ifndef RUNTIME_EVENTS_JSON_H
#define RUNTIME_EVENTS_JSON_H

#include <sys/types.h>

#include "lib/err.h"
#include "shim/control.h"

/** events_json() - One line without its end; @stats NULL: no data; @out: the caller's; Return: its length or -errno */
ssize_t events_json(const char *type, const char *id, const struct control_stats *stats, char **out,
		    struct err *err);

#endif
