/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging: one line per call, text or JSON, to a descriptor that was opened once.
 *
 * Both forms are the ones engines expect of an OCI runtime: {"level":"error","msg":"…","time":"<RFC 3339>"} and
 * time="<RFC 3339>" level=error msg="…". Bytes that came from a guest are escaped by the writer, so that no line can be forged. Levels below the set one cost a comparison.
 * The state is process-wide (the one permitted global); it is set in main() and inherited over fork.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_FORMAT_TEXT = 0, LOG_FORMAT_JSON };

/**
 * log_open() - Direct the log
 * @path:	File to append to (created 0644, O_CLOEXEC), or NULL for standard error
 *
 * Return: 0, or -errno with @err filled; the log then still goes to standard error.
 */
int log_open(const char *path, enum log_format format, enum log_level level, struct err *err);

/** log_set_fd() - Log to @fd (borrowed, may be -1: drop everything) */
void log_set_fd(int fd);
/** log_fd() - The descriptor in use, -1 if none */
int log_fd(void);
/** log_set_context() - Text put before each message, e.g. the container's id; copied, at most 128 bytes, NULL clears it */
void log_set_context(const char *context);
enum log_level log_get_level(void);
void log_set_level(enum log_level level);
enum log_format log_get_format(void);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Allows @burst lines, then one per second; for lines that a guest can cause. Zero-initialised = burst of 10. */
struct log_ratelimit {
	uint64_t last_ns;
	uint32_t tokens;
	uint32_t dropped;
	bool started;
};
/** log_guest_warn() - A warning caused by a guest's behaviour, rate-limited by @rl (one static struct per call site) */
void log_guest_warn(struct log_ratelimit *rl, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
