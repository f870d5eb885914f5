/* SPDX-License-Identifier: Apache-2.0 */
/* lib/path.c: nothing below a hostile root leads out of it; trees go away whole, and only them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/path.h"

static char top[] = "/tmp/caisson-path-XXXXXX";
static int top_fd, root;

/* TOP/secret is outside, TOP/root is the root that somebody else controls */
static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(top))
		return -1;
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(top_fd, "root", 0755) < 0 || mkdirat(top_fd, "outside", 0755) < 0)
		return -1;
	root = openat(top_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	int r;

	(void)state;
	(void)close(root);
	(void)close(top_fd);
	r = path_remove_tree(AT_FDCWD, top, NULL);
	return r;
}

static bool exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool same(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(root, path, &b, 0) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static void open_stays_inside(void **state)
{
	cleanup_close int fd = -1;
	struct err err = {0};

	(void)state;
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	assert_int_equal(symlinkat("../../../../outside", root, "up"), 0);
	assert_int_equal(symlinkat("/etc", root, "abs"), 0);
	assert_int_equal(path_open_beneath(root, "up", O_RDONLY, 0, &err), -ENOENT);
	assert_string_equal(err.msg, "cannot open 'up': missing");
	assert_int_equal(path_open_beneath(root, "../outside", O_RDONLY, 0, NULL), -ENOENT);
	fd = path_open_beneath(root, "abs", O_PATH, 0, &err);
	assert_true(fd >= 0 && same(fd, "etc"));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close_fd(&fd);
	fd = path_open_beneath(root, "/../..", O_PATH, 0, &err);
	assert_true(fd >= 0 && same(fd, "."));
	close_fd(&fd);
	fd = path_open_beneath(root, "etc/new", O_CREAT | O_EXCL | O_WRONLY, 0600, &err);
	assert_true(fd >= 0 && same(fd, "etc/new"));
}

static void magic_links_are_refused(void **state)
{
	cleanup_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(path_open_beneath(proc, "self/root", O_PATH, 0, NULL), -ELOOP);
	assert_int_equal(path_open_beneath(proc, "self/cwd/x", O_PATH, 0, NULL), -ELOOP);
}

static void make_directories_and_files(void **state)
{
	cleanup_close int fd = -1;
	struct err err = {0};
	struct stat st;

	(void)state;
	fd = path_make_beneath(root, "/a/./b//c/", true, 0700, &err);
	assert_true(fd >= 0 && same(fd, "a/b/c"));
	close_fd(&fd);
	fd = path_make_beneath(root, "a/b/f", false, 0640, &err);
	assert_true(fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && same(fd, "a/b/f"));
	close_fd(&fd);
	fd = path_make_beneath(root, "a/b/c/../f", true, 0700,
			       &err); /* exists: accepted as it is */
	assert_true(fd >= 0 && same(fd, "a/b/f"));
	close_fd(&fd);
	fd = path_make_beneath(root, "/", true, 0700, &err);
	assert_true(fd >= 0 && same(fd, "."));
	assert_int_equal(path_make_beneath(root, "a/b/f/g", true, 0700, &err), -ENOTDIR);
	assert_non_null(strstr(err.msg, "'a/b/f/g'"));
}

static void make_follows_links_inside(void **state)
{
	cleanup_close int fd = -1;
	struct err err = {0};

	(void)state;
	assert_int_equal(symlinkat("../../../run/resolve/resolv.conf", root, "dangling"), 0);
	fd = path_make_beneath(root, "dangling", false, 0644, &err);
	assert_true(fd >= 0 && same(fd, "run/resolve/resolv.conf"));
	close_fd(&fd);
	assert_int_equal(symlinkat("/../../outside/made", root, "escape"), 0);
	fd = path_make_beneath(root, "escape/x", true, 0755, &err);
	assert_true(fd >= 0 && same(fd, "outside/made/x"));
	assert_false(exists(top_fd, "outside/made"));
	close_fd(&fd);
	assert_int_equal(symlinkat("run", root, "alias"), 0);
	fd = path_make_beneath(root, "alias", true, 0755, &err);
	assert_true(fd >= 0 && same(fd, "run"));
	assert_int_equal(symlinkat("loop2", root, "loop1"), 0);
	assert_int_equal(symlinkat("loop1", root, "loop2"), 0);
	assert_int_equal(path_make_beneath(root, "loop1", true, 0755, &err), -ELOOP);
}

static void make_refuses_long_names(void **state)
{
	char name[6000];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[300] = '\0';
	assert_int_equal(path_make_beneath(root, name, true, 0755, NULL), -ENAMETOOLONG);
	name[300] = 'n';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(path_make_beneath(root, name, true, 0755, NULL), -ENAMETOOLONG);
}

static void remove_takes_all_and_follows_nothing(void **state)
{
	struct err err = {0};
	cleanup_close int fd = -1;

	(void)state;
	assert_int_equal(mkdirat(root, "t", 0755), 0);
	assert_int_equal(mkdirat(root, "t/d", 0755), 0);
	assert_int_equal(mkdirat(root, "keep", 0755), 0);
	assert_int_equal(symlinkat("../../keep", root, "t/d/link"), 0);
	assert_int_equal(mkfifoat(root, "t/d/fifo", 0600), 0);
	fd = openat(root, "keep/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (int i = 0; i < 3000; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "t/d/%d", i);
		assert_int_equal(mkdirat(root, name, 0755), 0);
	}
	assert_int_equal(path_remove_tree(root, "t", &err), 0);
	assert_false(exists(root, "t"));
	assert_true(exists(root, "keep/file"));
	assert_int_equal(path_remove_tree(root, "t", &err), 0); /* nothing there: done */
	assert_int_equal(symlinkat("keep", root, "l"), 0);
	assert_int_equal(path_remove_tree(root, "l", &err), 0);
	assert_true(exists(root, "keep/file"));
	assert_int_equal(path_remove_tree(root, "keep/file", &err), 0);
	assert_false(exists(root, "keep/file"));
}

static void remove_is_not_stopped_by_depth(void **state)
{
	struct err err = {0};
	int fd = dup(root);

	(void)state;
	assert_int_equal(mkdirat(root, "deep", 0755), 0);
	for (int i = 0; i < 5000; i++) {
		const char *name = i ? "d" : "deep";
		int next;

		if (i)
			assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		(void)close(fd);
		fd = next;
	}
	(void)close(fd);
	assert_int_equal(path_remove_tree(root, "deep", &err), 0);
	assert_false(exists(root, "deep"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_stays_inside),
		cmocka_unit_test(magic_links_are_refused),
		cmocka_unit_test(make_directories_and_files),
		cmocka_unit_test(make_follows_links_inside),
		cmocka_unit_test(make_refuses_long_names),
		cmocka_unit_test(remove_takes_all_and_follows_nothing),
		cmocka_unit_test(remove_is_not_stopped_by_depth),
	};

	return cmocka_run_group_tests_name("lib/path", tests, set_up, tear_down);
}
