/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's cgroup is: the path of config.json, cleaned, as runc takes it; and its removal. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "shim/cgroup.h"
#include "shim/control.h"

static void test_paths(void **state)
{
	static const struct {
		const char *configured, *own, *out;
	} cases[] = {
		{"/docker/abc", "/user.slice/x", "/docker/abc"},
		{"//docker/./abc/", "/", "/docker/abc"},
		{"/../../etc", "/", "/etc"},
		{"/a/../../b/..", "/", "/"},
		{"/", "/x", "/"},
		{"/...", "/", "/..."},
		{NULL, "/user.slice/session-1.scope", "/user.slice/id-1"},
		{"", "/", "/id-1"},
		{"pod/c", "/user.slice/session-1.scope", "/user.slice/pod/c"},
		{"../../../c", "/a/b", "/c"},
		{"system.slice:docker:abc", "/", "/system.slice:docker:abc"},
	};
	char out[CGROUP_PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cgroup_path(cases[i].configured, "id-1", cases[i].own, out, NULL),
				 0);
		assert_string_equal(out, cases[i].out);
	}
}

static void test_too_long(void **state)
{
	char *path = malloc(CGROUP_PATH_MAX + 10), *out = malloc(CGROUP_PATH_MAX);

	(void)state;
	memset(path, 'x', CGROUP_PATH_MAX + 9);
	path[0] = '/';
	path[CGROUP_PATH_MAX + 9] = 0;
	assert_int_equal(cgroup_path(path, "id", "/", out, NULL), -ENAMETOOLONG);
	/* The longest that fits */
	path[CGROUP_PATH_MAX - 1] = 0;
	assert_int_equal(cgroup_path(path, "id", "/", out, NULL), 0);
	assert_string_equal(out, path);
	free(path);
	free(out);
}

/* Somebody has made cgroups below the container's: they go with it */
static void test_children(void **state)
{
	static const char note[] = "/sys/fs/cgroup/unified\n/caisson-unit-children/c\n2\n";
	static const char *const parts[] = {"", "/c", "/c/a", "/c/a/b", "/c/d"};
	char dir[] = "/tmp/caisson-cgroup-XXXXXX", path[128];
	struct err err = {0};
	int state_fd;

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/unified/caisson-unit-children%s",
			 parts[i]);
		if (mkdir(path, 0755) < 0)
			skip(); /* no cgroup2 hierarchy here to write to */
	}
	assert_non_null(mkdtemp(dir));
	state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(io_write_file(state_fd, "cgroup", note, sizeof(note) - 1, 0600, &err), 0);
	if (monitor_cgroup_remove(state_fd, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(access("/sys/fs/cgroup/unified/caisson-unit-children", F_OK), -1);
	close(state_fd);
	assert_int_equal(rmdir(dir), 0);
}

#define FOREIGN "/sys/fs/cgroup/unified/caisson-unit-foreign"

/* Removes the cgroup for the container of @state_fd with a process of somebody else in it; Return: whether that lives on */
static bool foreigner_survives(int state_fd)
{
	static const char note[] = "/sys/fs/cgroup/unified\n/caisson-unit-foreign\n1\n";
	struct err err = {0};
	char text[16];
	pid_t pid = fork();
	bool lives;
	int procs;

	if (pid == 0) {
		for (;;)
			pause();
	}
	snprintf(text, sizeof(text), "%d", (int)pid);
	procs = open(FOREIGN "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(procs, text, strlen(text)), strlen(text));
	close(procs);
	assert_int_equal(io_write_file(state_fd, "cgroup", note, sizeof(note) - 1, 0600, &err), 0);
	if (monitor_cgroup_remove(state_fd, &err) < 0)
		fail_msg("%s", err.msg);
	lives = waitpid(pid, NULL, WNOHANG) == 0;
	if (lives) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return lives;
}

/* Only in a cgroup that this container made, and that nobody else has entered, is anybody killed */
static void test_foreigners(void **state)
{
	char dir[] = "/tmp/caisson-cgroup-XXXXXX", owner[64];
	struct stat st;
	int state_fd;

	(void)state;
	if (mkdir(FOREIGN, 0755) < 0)
		skip();
	assert_non_null(mkdtemp(dir));
	state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fstat(state_fd, &st), 0);
	assert_true(foreigner_survives(state_fd));
	assert_int_equal(setxattr(FOREIGN, "trusted.caisson.owner", "1:1", 3, 0), 0);
	assert_true(foreigner_survives(state_fd));
	snprintf(owner, sizeof(owner), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	assert_int_equal(setxattr(FOREIGN, "trusted.caisson.owner", owner, strlen(owner), 0), 0);
	assert_int_equal(setxattr(FOREIGN, "trusted.caisson.shared", "1", 1, 0), 0);
	assert_true(foreigner_survives(state_fd));
	assert_int_equal(access(FOREIGN, F_OK), 0);
	assert_int_equal(removexattr(FOREIGN, "trusted.caisson.shared"), 0);
	assert_false(foreigner_survives(state_fd));
	assert_int_equal(access(FOREIGN, F_OK), -1);
	close(state_fd);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_foreigners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
