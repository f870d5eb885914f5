/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's cgroup is: the path of config.json, cleaned, as runc takes it; and its removal. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/io.h"
#include "oci/limits.h"
#include "shim/cgroup.h"
#include "shim/cgroup_note.h"
#include "shim/control.h"
#include "shim/limits.h"

static void test_paths(void **state)
{
	static const struct {
		const char *configured, *own, *out;
		bool is_v1;
	} cases[] = {
		{"/docker/abc", "/user.slice/x", "/docker/abc", false},
		{"//docker/./abc/", "/", "/docker/abc", false},
		{"/../../etc", "/", "/etc", false},
		{"/a/../../b/..", "/", "/", false},
		{"/", "/x", "/", false},
		{"/...", "/", "/...", false},
		{NULL, "/user.slice/session-1.scope", "/user.slice/id-1", false},
		{"", "/", "/id-1", false},
		{"pod/c", "/user.slice/session-1.scope", "/user.slice/pod/c", false},
		{"../../../c", "/a/b", "/c", false},
		{"system.slice:docker:abc", "/", "/system.slice:docker:abc", false},
		{NULL, "/user.slice/session-1.scope", "/user.slice/session-1.scope/id-1", true},
		{"pod/c", "/a", "/a/pod/c", true},
		{"/docker/abc", "/a", "/docker/abc", true},
	};
	char out[CGROUP_PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cgroup_path(cases[i].configured, "id-1", cases[i].own,
					     !cases[i].is_v1, out, NULL),
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
	assert_int_equal(cgroup_path(path, "id", "/", true, out, NULL), -ENAMETOOLONG);
	/* The longest that fits */
	path[CGROUP_PATH_MAX - 1] = 0;
	assert_int_equal(cgroup_path(path, "id", "/", true, out, NULL), 0);
	assert_string_equal(out, path);
	free(path);
	free(out);
}

/* Somebody has made cgroups below the container's: they go with it */
static void test_children(void **state)
{
	static const char note[] = "/sys/fs/cgroup/unified\n/caisson-unit-children/c\n2\n\n";
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

#define FOREIGN "/caisson-unit-foreign"

/* Removes the cgroup for the container of @state_fd with a process of somebody else in it; Return: whether that lives on */
static bool foreigner_survives(const char *mount, const char *controllers, int state_fd)
{
	struct err err = {0};
	char text[16], path[128], note[256];
	pid_t pid = fork();
	bool lives;
	int procs, n;

	if (pid == 0) {
		for (;;)
			pause();
	}
	snprintf(text, sizeof(text), "%d", (int)pid);
	snprintf(path, sizeof(path), "%s" FOREIGN "/cgroup.procs", mount);
	procs = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(procs, text, strlen(text)), strlen(text));
	close(procs);
	n = snprintf(note, sizeof(note), "%s\n" FOREIGN "\n1\n%s\n", mount, controllers);
	assert_int_equal(io_write_file(state_fd, "cgroup", note, (size_t)n, 0600, &err), 0);
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
static void check_foreigners(const char *mount, const char *controllers)
{
	char dir[] = "/tmp/caisson-cgroup-XXXXXX", owner[64], path[128];
	struct stat st;
	int state_fd;

	snprintf(path, sizeof(path), "%s" FOREIGN, mount);
	if (mkdir(path, 0755) < 0)
		skip();
	assert_non_null(mkdtemp(dir));
	state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fstat(state_fd, &st), 0);
	assert_true(foreigner_survives(mount, controllers, state_fd));
	assert_int_equal(setxattr(path, "trusted.caisson.owner", "1:1", 3, 0), 0);
	assert_true(foreigner_survives(mount, controllers, state_fd));
	snprintf(owner, sizeof(owner), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	assert_int_equal(setxattr(path, "trusted.caisson.owner", owner, strlen(owner), 0), 0);
	assert_int_equal(setxattr(path, "trusted.caisson.shared", "1", 1, 0), 0);
	assert_true(foreigner_survives(mount, controllers, state_fd));
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(removexattr(path, "trusted.caisson.shared"), 0);
	assert_false(foreigner_survives(mount, controllers, state_fd));
	assert_int_equal(access(path, F_OK), -1);
	close(state_fd);
	assert_int_equal(rmdir(dir), 0);
}

static void test_foreigners(void **state)
{
	(void)state;
	check_foreigners("/sys/fs/cgroup/unified", "");
}

static void test_foreigners_v1(void **state)
{
	(void)state;
	check_foreigners("/sys/fs/cgroup/pids", "pids");
}

/* The container's process in every hierarchy of version 1 that this host has, limited; and gone from all */
static void enter_all_hierarchies(int state_fd)
{
	static const char json[] = "{\"pids\":{\"limit\":100},\"cpu\":{\"shares\":512}}";
	const struct limits_machine machine = {128u << 20, 1};
	struct oci_resources *resources = NULL;
	struct err err = {0};
	int fd = -1, out = 0;

	if (oci_resources_parse(json, strlen(json), &resources, &err) < 0)
		_exit(1);
	if (cgroup_enter("/caisson-unit-v1/c", "id", state_fd, &fd, &err) < 0)
		_exit(2);
	if (limits_host(state_fd, fd, resources, &machine, NULL, &err) < 0)
		_exit(3);
	out |= system("test $(grep -c :/caisson-unit-v1/c$ /proc/self/cgroup) = "
		      "$(grep -c . /proc/self/cgroup)") != 0;
	out |= system("cd /sys/fs/cgroup; test $(cat pids/caisson-unit-v1/c/pids.max) = 165") != 0;
	out |= system("cd /sys/fs/cgroup; test $(cat cpu/caisson-unit-v1/c/cpu.shares) = 512") != 0;
	_exit(out ? 4 : 0);
}

static void test_all_hierarchies(void **state)
{
	char dir[] = "/tmp/caisson-cgroup-XXXXXX";
	struct err err = {0};
	int state_fd, status;
	pid_t pid;

	(void)state;
	if (access("/sys/fs/cgroup/pids/cgroup.procs", W_OK) < 0 ||
	    access("/sys/fs/cgroup/cpu/cgroup.procs", W_OK) < 0)
		skip(); /* no version 1 here */
	assert_non_null(mkdtemp(dir));
	state_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid = fork();
	if (pid == 0)
		enter_all_hierarchies(state_fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (monitor_cgroup_remove(state_fd, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_not_equal(system("ls -d /sys/fs/cgroup/*/caisson-unit-v1 2> /dev/null"), 0);
	close(state_fd);
	assert_int_equal(rmdir(dir), 0);
}

static void test_notes(void **state)
{
	static const char *const damaged[] = {
		"",
		"/a\n/b\n1\n",
		"/a\n/b\nx\n\n",
		"a\n/b\n1\n\n",
		"/a\n/b/../c\n1\n\n",
		"/a\n/b\n1\n\nrest",
	};
	char dir[] = "/tmp/caisson-cgroup-XXXXXX";
	struct cgroup_note note = {.n = 2}, read;
	struct err err = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cgroup_note_read(fd, &read, &err), -ENOENT);
	note.items[0] = (struct cgroup_place){"/m", "/p/q", "", 2};
	note.items[1] = (struct cgroup_place){"/n", "/", "cpu,cpuacct", 0};
	assert_int_equal(cgroup_note_write(fd, &note, &err), 0);
	assert_int_equal(cgroup_note_read(fd, &read, &err), 0);
	assert_int_equal(read.n, 2);
	assert_string_equal(read.items[0].path, "/p/q");
	assert_int_equal(read.items[0].made, 2);
	assert_string_equal(read.items[1].controllers, "cpu,cpuacct");
	assert_true(cgroup_note_is_v1(&read));
	cgroup_note_release(&read);
	note.items[1].controllers = CGROUP_UNUSED;
	assert_false(cgroup_note_is_v1(&note));
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		assert_int_equal(
			io_write_file(fd, "cgroup", damaged[i], strlen(damaged[i]), 0600, &err), 0);
		assert_int_equal(cgroup_note_read(fd, &read, &err), -EINVAL);
	}
	cgroup_note_remove(fd);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),	      cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_children),      cmocka_unit_test(test_foreigners),
		cmocka_unit_test(test_foreigners_v1), cmocka_unit_test(test_all_hierarchies),
		cmocka_unit_test(test_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
