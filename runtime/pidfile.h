/* SPDX-License-Identifier: Apache-2.0 */
/* Pid files: digits and nothing else, there before the command exits. */
#ifndef RUNTIME_PIDFILE_H
#define RUNTIME_PIDFILE_H

#include <sys/types.h>

#include "lib/err.h"

/** pid_file_write() - Write @pid atomically; nothing when @path is NULL or "" */
int pid_file_write(const char *path, pid_t pid, struct err *err);
void pid_file_remove(const char *path);

#endif
