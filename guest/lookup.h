/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the program, and saying why it cannot be run, in the words that engines search for (see lib/err.h): they tell 127 (not
 * found) from 126 (cannot be executed) by them. runc has them from Go's os/exec; checked against runc 1.1.5.
 */
#ifndef GUEST_LOOKUP_H
#define GUEST_LOOKUP_H

#include <limits.h>

#include "lib/err.h"
#include "lib/ttrpc.h"
#include "oci/config.h"

/**
 * lookup_program() - Find args[0] of @process as the calling process's user, in its root and directory
 * @out:	PATH_MAX bytes, filled on success
 * Return: 0, or -errno with the whole sentence in @err.
 */
int lookup_program(const struct oci_process *process, char *out, struct err *err);

/** lookup_exec_error() - The sentence for an execve that failed with @code; Return: -@code */
int lookup_exec_error(const char *path, int code, struct err *err);

/** lookup_code() - What to tell the monitor for a failure of the above, -errno or errno */
enum ttrpc_code lookup_code(int error);

/** lookup_words() - The system's own words for an errno value, in lower case; static storage */
const char *lookup_words(int code);

/** lookup_env() - Value of @name in an environment, or NULL */
const char *lookup_env(const struct oci_strings *env, const char *name);

#endif
