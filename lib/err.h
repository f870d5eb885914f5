/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a code, one sentence, and the context that callers put in front of it.
 *
 * A function that can fail takes a `struct err *` as its last parameter, returns -errno and fills the sentence. The caller
 * owns the struct; it is of fixed size, so that reporting "out of memory" needs no memory. NULL is allowed everywhere.
 *
 * The sentences are read by engines: Docker and Podman search them for words such as "permission denied" or "no such file
 * or directory" and conclude that the *container's program* cannot be run. err_reason() therefore words the system's error
 * numbers differently; only the agent and the code that looks up a program use the searched words, on purpose.
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#define ERR_MSG_MAX 1024

struct err {
	int code;	       /* errno value, 0: no error */
	char msg[ERR_MSG_MAX]; /* one sentence, no full stop, cut at the end when too long */
};

/**
 * err_set() - Fill an error
 * @err:	May be NULL
 * @code:	errno value, > 0
 * @fmt:	What, where, which value
 *
 * Return: -@code, so that `return err_set(…)` reads well.
 */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/**
 * err_sys() - Fill an error from a system call's failure: "<fmt>: <err_reason(code)>"
 * @code:	errno value (pass errno itself), > 0
 *
 * Return: -@code
 */
int err_sys(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/** err_prefix() - Put "<fmt>: " in front of the sentence; does nothing when @err is NULL or holds no error */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** err_reason() - Words for an errno value that no engine takes for a fault of the container's program; static storage */
const char *err_reason(int code);

#endif
