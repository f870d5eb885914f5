/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Like Go's exec.LookPath followed by a test of access with the process's own credentials:
 *
 *   "foo"        searched in PATH         exec: "foo": executable file not found in $PATH
 *   "/x/y"       must exist               exec: "/x/y": stat /x/y: no such file or directory
 *                must not be a directory  exec: "/etc": is a directory        (runc before 1.2: permission denied)
 *                must have an x bit       exec: "/etc/passwd": permission denied
 *   found, but not for this user          exec /bin/tool: permission denied
 */
#define _GNU_SOURCE
#include "guest/lookup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

const char *lookup_words(int code)
{
	static const struct {
		int code;
		const char *words;
	} table[] = {
		{ENOENT, "no such file or directory"},
		{EACCES, "permission denied"},
		{EISDIR, "is a directory"},
		{ENOTDIR, "not a directory"},
		{ENOEXEC, "exec format error"},
		{EPERM, "operation not permitted"},
		{ELOOP, "too many levels of symbolic links"},
		{ENAMETOOLONG, "file name too long"},
		{E2BIG, "argument list too long"},
		{ENOMEM, "cannot allocate memory"},
		{EIO, "input/output error"},
		{ETXTBSY, "text file busy"},
		{ELIBBAD, "accessing a corrupted shared library"},
		{EINVAL, "invalid argument"},
		{ENXIO, "no such device or address"},
		{EMFILE, "too many open files"},
		{EAGAIN, "resource temporarily unavailable"},
	};
	static char other[32];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].code == code)
			return table[i].words;
	}
	(void)snprintf(other, sizeof(other), "errno %d", code);
	return other;
}

const char *lookup_env(const struct oci_strings *env, const char *name)
{
	size_t len = strlen(name);
	const char *found = NULL;

	/* The last one counts, as with Go's environment */
	for (size_t i = 0; i < env->n; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			found = env->items[i] + len + 1;
	}
	return found;
}

enum ttrpc_code lookup_code(int error)
{
	switch (error < 0 ? -error : error) {
	case ENOENT:
	case ENOTDIR:
		return TTRPC_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EISDIR:
	case ENOEXEC:
		return TTRPC_PERMISSION_DENIED;
	default:
		return TTRPC_INTERNAL;
	}
}

/* A file that somebody may execute. Return: 0 or an errno value, negative if stat itself failed */
static int check_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	return st.st_mode & 0111 ? 0 : EACCES;
}

static int check_access(const char *path, struct err *err)
{
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
		return 0;
	return lookup_exec_error(path, errno, err);
}

static int search(const struct oci_process *process, const char *name, char *out)
{
	const char *path = lookup_env(&process->env, "PATH");

	/* Without PATH, and for an empty one, an empty list as with runc, not a list of one empty element, which would be the working directory */
	if (!path || !*path)
		return -ENOENT;
	for (;;) {
		size_t len = strcspn(path, ":");
		int n = len ? snprintf(out, PATH_MAX, "%.*s%s%s", (int)len, path,
				       path[len - 1] == '/' ? "" : "/", name)
			    : snprintf(out, PATH_MAX, "./%s", name);

		if (n > 0 && n < PATH_MAX && check_file(out) == 0)
			return 0;
		if (!path[len])
			return -ENOENT;
		path += len + 1;
	}
}

int lookup_program(const struct oci_process *process, char *out, struct err *err)
{
	const char *name = process->args.items[0];
	int r;

	if (!strchr(name, '/')) {
		if (!*name || search(process, name, out) < 0)
			return err_set(err, ENOENT,
				       "exec: \"%.512s\": executable file not found in $PATH",
				       name);
		return check_access(out, err);
	}
	if (strlen(name) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "exec: \"%.512s…\": %s", name,
			       lookup_words(ENAMETOOLONG));
	r = check_file(name);
	if (r < 0)
		return err_set(err, -r, "exec: \"%.384s\": stat %.384s: %s", name, name,
			       lookup_words(-r));
	if (r > 0)
		return err_set(err, r, "exec: \"%.512s\": %s", name, lookup_words(r));
	(void)strcpy(out, name);
	return check_access(out, err);
}

int lookup_exec_error(const char *path, int code, struct err *err)
{
	return err_set(err, code, "exec %.768s: %s", path, lookup_words(code));
}
