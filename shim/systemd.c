/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes of systemd's: see shim/systemd.h.
 *
 *   command                                 monitor                     caisson-systemd
 *     fork ───────────────────────────────▶  waits (cgroup step)
 *     note "unit" in the state directory
 *     execute ─────────────────────────────────────────────────────────▶ StartTransientUnit(PIDs = monitor)
 *     "go" ───────────────────────────────▶  is in the scope: limits, vmm …
 *
 * The note is written first, so that whatever was made is ended by `delete`, with or without the option. The program is found
 * beside this one, else where it is installed.
 */
#include "shim/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/protocol.h"

#define UNIT_FILE "unit"
#define HELPER "caisson-systemd"
#define ANSWER_MAX 512 /* bytes of its sentence */

extern char **environ;

/* ---- names ---- */

/* What systemd takes as a unit's name; it escapes nothing for us */
static bool is_name(const char *text)
{
	return strspn(text,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@+") ==
	       strlen(text);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

static int format_unit(const char *slice, const char *prefix, const char *name,
		       struct systemd_unit *out, struct err *err)
{
	int n = snprintf(out->slice, sizeof(out->slice), "%s", slice);
	int m = snprintf(out->name, sizeof(out->name), "%s%s%s.scope", prefix, prefix[0] ? "-" : "",
			 name);

	if (n >= (int)sizeof(out->slice) || m >= (int)sizeof(out->name))
		return err_set(err, EINVAL, "the systemd unit '%.64s…' has too long a name", name);
	if (!ends_with(slice, ".slice"))
		return err_set(err, EINVAL, "invalid slice name: '%.128s'", slice);
	if (!name[0] || !is_name(out->slice) || !is_name(out->name))
		return err_set(err, EINVAL, "'%.128s' in '%.128s' is no name of a systemd unit",
			       out->name, slice);
	return 0;
}

int systemd_unit_parse(const char *configured, const char *id, bool user, struct systemd_unit *out,
		       struct err *err)
{
	const char *slice = user ? "user.slice" : "system.slice";
	cleanup_free char *copy = NULL;
	char *prefix, *name;

	if (!configured || !configured[0])
		return format_unit(slice, "caisson", id, out, err);
	copy = strdup(configured);
	if (!copy)
		return err_sys(err, ENOMEM, "linux.cgroupsPath");
	prefix = strchr(copy, ':');
	name = prefix ? strchr(prefix + 1, ':') : NULL;
	if (!name || strchr(name + 1, ':'))
		return err_set(
			err, EINVAL,
			"expected cgroupsPath to be of format \"slice:prefix:name\" for systemd "
			"cgroups, got \"%.256s\" instead",
			configured);
	*prefix++ = '\0';
	*name++ = '\0';
	return format_unit(copy[0] ? copy : slice, prefix, name, out, err);
}

/* ---- the program ---- */

static int find_helper(char *out, size_t size, struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", out, size - sizeof(HELPER) - 1);
	char *slash;

	if (n < 0)
		return err_sys(err, errno, "/proc/self/exe");
	out[n] = '\0';
	slash = strrchr(out, '/');
	(void)snprintf(slash + 1, size - (size_t)(slash + 1 - out), "%s", HELPER);
	if (access(out, X_OK) == 0)
		return 0;
	(void)snprintf(out, size, "%s/%s", CAISSON_LIBDIR, HELPER);
	if (access(out, X_OK) == 0)
		return 0;
	return err_set(err, ENOTSUP,
		       "--systemd-cgroup needs the program " HELPER ", which is not installed");
}

static int spawn_helper(const char *path, char *const *argv, int stderr_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	for (int fd = 0; fd < 2 && !r; fd++)
		r = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, stderr_fd, 2);
	if (!r)
		r = posix_spawn(pid, path, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* The program's one sentence, up to its end */
static void read_answer(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n != 0 && len + 1 < size) {
		n = read(fd, out + len, size - 1 - len);
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	out[len] = '\0';
	out[strcspn(out, "\n")] = '\0';
	text_clean(out);
}

static int run_helper(char *const *argv, struct err *err)
{
	cleanup_close int ours = -1, theirs = -1;
	char path[PATH_MAX], answer[ANSWER_MAX];
	int fds[2], r, status = 0;
	pid_t pid;

	r = find_helper(path, sizeof(path), err);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "asking systemd");
	ours = fds[0];
	theirs = fds[1];
	r = spawn_helper(path, argv, theirs, &pid);
	if (r < 0)
		return err_sys(err, -r, "executing '%s'", path);
	close_fd(&theirs);
	read_answer(ours, answer, sizeof(answer));
	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	if (r == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, EIO, "systemd: %s", answer[0] ? answer : "its program ended early");
}

/* ---- scopes ---- */

#define ARGV_FIRST 2 /* the program, and "--user" or not */

/* The arguments' beginning; Return: how many they are */
static size_t begin_argv(char **argv, const char *command)
{
	size_t n = 0;

	argv[n++] = (char *)HELPER;
	if (geteuid() != 0)
		argv[n++] = (char *)"--user";
	argv[n++] = (char *)command;
	return n;
}

int systemd_scope_start(const struct systemd_unit *unit, const char *id, pid_t pid, int state_fd,
			struct err *err)
{
	char description[SYSTEMD_NAME_MAX], pid_text[16];
	char *argv[ARGV_FIRST + 6] = {NULL};
	size_t n = begin_argv(argv, "start");
	int r = io_write_file(state_fd, UNIT_FILE, unit->name, strlen(unit->name), 0600, err);

	if (r < 0)
		return r;
	(void)snprintf(description, sizeof(description), "caisson container %.200s", id);
	(void)snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	argv[n++] = (char *)unit->name;
	argv[n++] = (char *)unit->slice;
	argv[n++] = pid_text;
	argv[n] = description;
	return run_helper(argv, err);
}

/* The noted unit; Return: its length, 0 when there is none, -errno */
static ssize_t read_unit(int state_fd, char **out, struct err *err)
{
	ssize_t n = io_read_file(state_fd, UNIT_FILE, SYSTEMD_NAME_MAX, out, err);

	if (n == -ENOENT)
		return 0;
	if (n > 0 && (!is_name(*out) || !ends_with(*out, ".scope"))) {
		free(*out);
		*out = NULL;
		return err_set(err, EINVAL, "the state directory's note of the unit is damaged");
	}
	return n;
}

/* "FILE=VALUE", with what the kernel made of the value; NULL without, and for a path: systemd's properties are version 2's */
static char *read_limit(int cgroup_fd, const char *file)
{
	cleanup_free char *value = NULL;
	char *text;

	if (strchr(file, '/') || io_read_file(cgroup_fd, file, 4096, &value, NULL) < 0)
		return NULL;
	return asprintf(&text, "%s=%.*s", file, (int)strcspn(value, "\n"), value) < 0 ? NULL : text;
}

int systemd_scope_set(int state_fd, int cgroup_fd, const struct limits *limits, struct err *err)
{
	cleanup_free char *unit = NULL;
	cleanup_free char **argv = calloc(limits->n + ARGV_FIRST + 3, sizeof(*argv));
	ssize_t len = read_unit(state_fd, &unit, err);
	size_t n, first;
	int r;

	if (len <= 0 || limits->n == 0)
		return len < 0 ? (int)len : 0;
	if (!argv)
		return err_sys(err, ENOMEM, "asking systemd");
	n = begin_argv(argv, "set");
	argv[n++] = unit;
	first = n;
	for (size_t i = 0; i < limits->n; i++) {
		argv[n] = read_limit(cgroup_fd, limits->items[i].file);
		n += argv[n] != NULL;
	}
	r = n > first ? run_helper(argv, err) : 0;
	while (n > first)
		free(argv[--n]);
	return r;
}

int systemd_scope_stop(int state_fd, struct err *err)
{
	cleanup_free char *unit = NULL;
	char *argv[ARGV_FIRST + 3] = {NULL};
	size_t n = begin_argv(argv, "stop");
	ssize_t len = read_unit(state_fd, &unit, err);
	int r;

	if (len <= 0)
		return (int)len;
	argv[n] = unit;
	r = run_helper(argv, err);
	if (r == 0)
		(void)unlinkat(state_fd, UNIT_FILE, 0);
	return r;
}
