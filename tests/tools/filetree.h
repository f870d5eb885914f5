/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of filetree.c share: a test is a function that runs in a child process, in an empty directory of its own,
 * and says by CHECK() what does not hold. Everything is expected as on a local Linux file system.
 */
#ifndef TESTS_TOOLS_FILETREE_H
#define TESTS_TOOLS_FILETREE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define USER 1234 /* another user, with no special rights */
#define GROUP 1234
#define TEAM 4321 /* a supplementary group of his */

static bool failed;
static const char *skip_reason;
static unsigned int big_entries = 100000;

static inline bool check(bool holds, const char *what, const char *file, int line)
{
	if (!holds) {
		printf("# %s:%d: %s (errno: %s)\n", file, line, what, strerror(errno));
		fflush(stdout);
		failed = true;
	}
	return holds;
}

#define CHECK(x) check((x), #x, strrchr("/" __FILE__, '/') + 1, __LINE__)
/* A call that must fail with a certain errno */
#define FAILS(x, code)                                                         \
	(errno = 0, check((x) < 0 && errno == (code), #x " fails with " #code, \
			  strrchr("/" __FILE__, '/') + 1, __LINE__))
#define SKIP(why)                    \
	do {                         \
		skip_reason = (why); \
		return;              \
	} while (0)

static inline double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static inline bool holds(const char *path, const char *text)
{
	char buffer[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buffer, text, (size_t)n);
}

static inline struct stat st_of(const char *path)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	if (lstat(path, &st) < 0)
		st.st_mode = 0;
	return st;
}

static inline unsigned int mode_of(const char *path)
{
	return st_of(path).st_mode & 07777;
}

static inline void become(uid_t uid, gid_t gid, gid_t team)
{
	CHECK(setgroups(team ? 1 : 0, &team) == 0);
	CHECK(setresgid(gid, gid, gid) == 0);
	CHECK(setresuid(uid, uid, uid) == 0);
}

static inline bool drop_cap(int cap)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	data[cap / 32].effective &= ~(1u << (cap % 32));
	data[cap / 32].permitted &= ~(1u << (cap % 32));
	return syscall(SYS_capset, &header, data) == 0;
}

/* Runs what follows in a child: `IN_CHILD { …; }` and joins it; its failures count */
static inline void join_child(pid_t pid, int line)
{
	int status = -1;

	waitpid(pid, &status, 0);
	if (status != 0) {
		printf("# the child of line %d ended with %#x\n", line, status);
		failed = true;
	}
}
#define IN_CHILD(...)                               \
	do {                                        \
		fflush(stdout);                     \
		pid_t in_child_pid = fork();        \
		if (in_child_pid == 0) {            \
			failed = false;             \
			__VA_ARGS__;                \
			fflush(stdout);             \
			_exit(failed);              \
		}                                   \
		join_child(in_child_pid, __LINE__); \
	} while (0)

#endif
