/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill in the guest is shown in the host's cgroup: on directories that are none, and, where cgroup2 has a memory controller to
 * write to (the lab), for real.
 */
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/oom.h"

#define CGROUP "/sys/fs/cgroup/caisson-unit-oom"

static bool has_children(int fd)
{
	return faccessat(fd, OOM_GUEST_NAME, F_OK, 0) == 0 ||
	       faccessat(fd, OOM_VICTIM_NAME, F_OK, 0) == 0;
}

static void test_not_a_cgroup(void **state)
{
	static const char events[] = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n";
	char dir[] = "/tmp/caisson-oom-XXXXXX";
	struct err err = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(oom_show(fd, 0, &err), -ENOTSUP);
	assert_false(has_children(fd));
	/* Not to be moved into: nothing is left, and it is an error */
	assert_int_equal(io_write_file(fd, "memory.events", events, sizeof(events) - 1, 0600, &err),
			 0);
	assert_int_equal(oom_show(fd, 0, &err), -ENOENT);
	assert_non_null(strstr(err.msg, OOM_GUEST_NAME));
	assert_false(has_children(fd));
	/* A monitor that was killed meanwhile */
	assert_int_equal(mkdirat(fd, OOM_GUEST_NAME, 0755), 0);
	assert_int_equal(mkdirat(fd, OOM_VICTIM_NAME, 0755), 0);
	oom_clean(fd);
	assert_false(has_children(fd));
	assert_int_equal(unlinkat(fd, "memory.events", 0), 0);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static unsigned int kills(void)
{
	FILE *f = fopen(CGROUP "/memory.events", "re");
	unsigned int value = UINT32_MAX;
	char line[128];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		(void)sscanf(line, "oom_kill %u", &value);
	(void)fclose(f);
	return value;
}

static bool is_in(pid_t pid)
{
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	(void)!fgets(line, sizeof(line), f);
	(void)fclose(f);
	return strcmp(line, "0::/caisson-unit-oom\n") == 0;
}

/* In the cgroup: this process's child stands for the vmm */
static int show(bool crowded)
{
	int fd = open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	struct err err = {0};
	pid_t other;

	put(CGROUP "/cgroup.procs", "0");
	other = fork();
	if (other == 0)
		for (;;)
			pause();
	r = oom_show(fd, crowded ? 0 : other, &err);
	if (r == 0 && (!is_in(getpid()) || !is_in(other) || kill(other, 0) < 0))
		r = -EXDEV;
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	return r == 0 ? 0 : -r;
}

static int in_cgroup(bool crowded)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(show(crowded));
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(access(CGROUP "/" OOM_GUEST_NAME, F_OK), -1);
	assert_int_equal(access(CGROUP "/" OOM_VICTIM_NAME, F_OK), -1);
	return WEXITSTATUS(status);
}

static bool has_cgroup(void)
{
	cleanup_close int fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, "+memory", 7) == 7 &&
	       (mkdir(CGROUP, 0755) == 0 || errno == EEXIST);
}

static void test_cgroup(void **state)
{
	(void)state;
	assert_int_equal(in_cgroup(false), 0);
	assert_int_equal(kills(), 1);
	/* Only the one dies, however tight it is, and whoever is to die together */
	put(CGROUP "/memory.oom.group", "1");
	put(CGROUP "/memory.max", "16M");
	assert_int_equal(in_cgroup(false), 0);
	assert_int_equal(kills(), 2);
	/* With somebody in it who cannot be moved it is not done, and said */
	assert_int_equal(in_cgroup(true), EBUSY);
	assert_int_equal(kills(), 2);
	assert_int_equal(rmdir(CGROUP), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_not_a_cgroup)};
	const struct CMUnitTest real[] = {cmocka_unit_test(test_cgroup)};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	if (has_cgroup())
		return cmocka_run_group_tests(real, NULL, NULL) + r;
	printf("1..1\nok 1 - cgroup # SKIP host: no cgroup2 hierarchy with memory to write to\n");
	return r;
}
