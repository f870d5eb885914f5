/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors without heap: see lib/err.h.
 *
 * Every process of ours uses this, the agent included. The functions may be called when memory is out, after fork() and
 * with hostile values in the arguments: they only format into the caller's struct. errno is not touched.
 *
 * err_reason(): engines decide by substring whether a start failed because of the *container's program* (exit codes 126 and
 * 127) or because of the runtime (125). Docker looks for "executable file not found", "no such file or directory", "system
 * cannot find the file specified", "permission denied", "not a directory", "is a directory" and similar, Podman for
 * "operation not permitted", too; containerd takes "does not exist" and "no such process" for a container that is gone. The
 * system's own words for ENOENT, EACCES, EPERM, ESRCH, ENOTDIR, EISDIR and ENOEXEC would be taken for that, so these are
 * worded differently here.
 */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

/* Moves "..." over the end of a sentence that did not fit, so that a cut is visible; never leaves half a UTF-8 character */
static void mark_cut(char *msg, size_t size)
{
	size_t end = size - 4;

	while (end > 0 && ((unsigned char)msg[end] & 0xc0) == 0x80)
		end--;
	memcpy(msg + end, "...", 4);
}

__attribute__((format(printf, 3, 0))) static void format_into(char *out, size_t size,
							      const char *fmt, va_list ap)
{
	int n = vsnprintf(out, size, fmt, ap);

	if (n < 0)
		out[0] = '\0';
	else if ((size_t)n >= size)
		mark_cut(out, size);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (err) {
		char text[ERR_MSG_MAX]; /* the arguments may point into err->msg */

		va_start(ap, fmt);
		format_into(text, sizeof(text), fmt, ap);
		va_end(ap);
		err->code = code;
		memcpy(err->msg, text, sizeof(text));
	}
	errno = saved;
	return -code;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	int saved = errno;
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		format_into(text, sizeof(text), fmt, ap);
		va_end(ap);
		(void)err_set(err, code, "%s: %s", text, err_reason(code));
	}
	errno = saved;
	return -code;
}

void err_prefix(struct err *err, const char *fmt, ...)
{
	char text[ERR_MSG_MAX];
	int saved = errno;
	va_list ap;

	if (err && err->code) {
		va_start(ap, fmt);
		format_into(text, sizeof(text), fmt, ap);
		va_end(ap);
		(void)err_set(err, err->code, "%s: %s", text, err->msg);
	}
	errno = saved;
}

static const struct {
	int code;
	const char *text;
} reasons[] = {
	{EACCES, "access refused by the system"},
	{EPERM, "refused by the kernel"},
	{ENOENT, "missing"},
	{ESRCH, "the process is gone"},
	{ENOTDIR, "a part of the path is no directory"},
	{EISDIR, "a directory where a file was expected"},
	{ENOEXEC, "not in a format that can be run"},
	{ELOOP, "too many symbolic links in the path"},
	{ENAMETOOLONG, "the name is too long"},
	{EEXIST, "exists already"},
	{EBUSY, "in use"},
	{ENOMEM, "out of memory"},
	{ENOSPC, "the disk is full"},
	{EDQUOT, "the disk quota is used up"},
	{EROFS, "the file system is read-only"},
	{EMFILE, "too many open files in this process"},
	{ENFILE, "too many open files on this host"},
	{EPIPE, "the other side has closed the connection"},
	{ECONNRESET, "the other side has broken the connection"},
	{ETIMEDOUT, "no answer in time"},
};

const char *err_reason(int code)
{
	const char *text;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].code == code)
			return reasons[i].text;
	}
	text = strerrordesc_np(code);
	return text ? text : "unknown error";
}
