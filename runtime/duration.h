/* SPDX-License-Identifier: Apache-2.0 */
/* Durations as Go writes them, which engines and scripts pass: "5s", "1m30s", "1.5h", "300ms". */
#ifndef RUNTIME_DURATION_H
#define RUNTIME_DURATION_H

#include <stdint.h>

/** duration_parse() - Into nanoseconds; Return: 0, or -EINVAL for what is none or does not fit */
int duration_parse(const char *text, int64_t *out_ns);

#endif
