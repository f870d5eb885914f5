/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports of a bundle: which are shared, which flags they get, what is refused and in which words; that no way leads out of
 * one. Needs root for mounts; skipped without.
 *
 * LDFLAGS: -Wl,--wrap=statx
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/path.h"
#include "shim/exports.h"

struct fixture {
	char dir[64];
	int bundle_fd;
	struct oci_config *config;
	struct exports exports;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	strcpy(f->dir, "/tmp/caisson-exports-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->bundle_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(f->bundle_fd, "rootfs", 0755), 0);
	assert_int_equal(mkdirat(f->bundle_fd, "rootfs/data", 0755), 0);
	assert_int_equal(mkdirat(f->bundle_fd, "volume", 0755), 0);
	assert_int_equal(close(openat(f->bundle_fd, "hosts", O_CREAT | O_WRONLY, 0644)), 0);
	assert_int_equal(symlinkat("volume", f->bundle_fd, "link"), 0);
	assert_int_equal(mkfifoat(f->bundle_fd, "fifo", 0600), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	exports_release(&f->exports);
	oci_config_free(f->config);
	close(f->bundle_fd);
	assert_int_equal(path_remove_tree(AT_FDCWD, f->dir, &f->err), 0);
	free(f);
	return 0;
}

static int open_with(struct fixture *f, const char *root, const char *mounts)
{
	char json[4096];
	int n = snprintf(json, sizeof(json),
			 "{\"ociVersion\":\"1.0.2\",\"root\":%s,\"mounts\":[%s]}", root, mounts);

	if (oci_config_parse(json, (size_t)n, &f->config, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	return exports_open(f->config, f->bundle_fd, &f->exports, &f->err);
}

static void open_ok(struct fixture *f, const char *root, const char *mounts)
{
	if (geteuid() != 0) {
		f->exports = (struct exports){.root_view_fd = -1};
		for (int i = 0; i < MACHINE_EXPORTS_MAX; i++)
			f->exports.items[i].fd = -1;
		skip();
	}
	if (open_with(f, root, mounts) < 0)
		fail_msg("%s", f->err.msg);
}

#define ROOT "{\"path\":\"rootfs\"}"
#define BIND(to, from, options)                                            \
	"{\"destination\":\"" to "\",\"type\":\"bind\",\"source\":\"" from \
	"\",\"options\":[" options "]}"

static void test_shared(void **state)
{
	struct fixture *f = *state;
	static const unsigned int ids[] = {1, 2, 1, 1, 3, 4};

	/* The formatter would tear the literals apart */
	/* clang-format off */
	open_ok(f, ROOT,
		BIND("/data", "volume", "\"bind\"") ","
		BIND("/ro", "volume", "\"bind\",\"ro\"") ","
		"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		BIND("/again", "volume", "\"bind\",\"ro\",\"rw\"") ","
		BIND("/link", "link", "\"bind\"") ","
		BIND("/deep", "volume", "\"rbind\"") ","
		BIND("/etc/hosts", "hosts", "\"bind\""));
	/* clang-format on */
	assert_int_equal(f->exports.n, 5);
	assert_int_equal(f->exports.nbinds, 6);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(f->exports.binds[i].export_id, ids[i]);
		assert_int_equal(f->exports.binds[i].mount_index, i < 2 ? i : i + 1);
		assert_true(f->exports.binds[i].view_fd >= 0);
	}
	assert_int_equal(f->exports.items[0].flags, 0);
	assert_int_equal(f->exports.items[1].flags, VMM_EXPORT_COHERENT | VMM_EXPORT_WATCH);
	assert_int_equal(f->exports.items[2].flags,
			 VMM_EXPORT_COHERENT | VMM_EXPORT_WATCH | VMM_EXPORT_READ_ONLY);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(f->exports.items[i].id, i);
	/* The host refuses too */
	assert_int_equal(openat(f->exports.items[2].fd, "x", O_CREAT | O_WRONLY, 0600), -1);
	assert_int_equal(errno, EROFS);
}

/* From a detached mount ".." leads nowhere */
static void test_no_way_out(void **state)
{
	struct fixture *f = *state;
	struct stat inside, outside;

	open_ok(f, ROOT, BIND("/data", "volume", "\"bind\""));
	for (unsigned int i = 0; i < f->exports.n; i++) {
		assert_int_equal(fstat(f->exports.items[i].fd, &inside), 0);
		assert_int_equal(fstatat(f->exports.items[i].fd, "../../..", &outside, 0), 0);
		assert_int_equal(inside.st_ino, outside.st_ino);
		assert_int_equal(inside.st_dev, outside.st_dev);
	}
}

static void test_root_read_only(void **state)
{
	struct fixture *f = *state;

	/* Every mount point exists, or lies on another mount */
	open_ok(f, "{\"path\":\"rootfs\",\"readonly\":true}",
		BIND("/data", "volume", "\"bind\"") "," BIND("/data/deeper", "volume", "\"bind\""));
	assert_int_equal(f->exports.items[0].flags, VMM_EXPORT_READ_ONLY);
}

static void test_root_must_be_prepared(void **state)
{
	struct fixture *f = *state;

	/* The agent has a mount point to make first */
	open_ok(f, "{\"path\":\"rootfs\",\"readonly\":true}",
		BIND("/database", "volume", "\"bind\""));
	assert_int_equal(f->exports.items[0].flags, 0);
}

static void refused(struct fixture *f, const char *root, const char *mounts, const char *want)
{
	int r = open_with(f, root, mounts);

	assert_int_equal(r, -EINVAL);
	if (!strstr(f->err.msg, want))
		fail_msg("'%s' is not in '%s'", want, f->err.msg);
	assert_null(strcasestr(f->err.msg, "no such file"));
	assert_null(strcasestr(f->err.msg, "permission denied"));
	assert_null(strcasestr(f->err.msg, "not a directory"));
	assert_int_equal(f->exports.n, 0);
	oci_config_free(f->config);
	f->config = NULL;
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0) {
		open_ok(f, ROOT, "");
		return;
	}
	refused(f, "{\"path\":\"missing\"}", "", "config.json: root.path 'missing': ");
	refused(f, "{\"path\":\"hosts\"}", "", "config.json: root.path 'hosts': ");
	refused(f, ROOT, BIND("/data", "nowhere", "\"bind\""),
		"config.json: mounts[0].source 'nowhere': ");
	refused(f, ROOT, BIND("/data", "hosts/below", "\"bind\""),
		"config.json: mounts[0].source 'hosts/below': ");
	refused(f, ROOT, BIND("/data", "/dev/kmsg", "\"bind\""),
		"a device of the host cannot be bind-mounted");
}

/* Of the kernel's interfaces the guest has its own, or there is none */
static void test_kernel_interfaces(void **state)
{
	struct fixture *f = *state;

	open_ok(f, ROOT,
		BIND("/p", "/proc", "\"rbind\"") "," BIND("/s", "/sys", "\"rbind\"") "," BIND(
			"/c", "/proc/cpuinfo", "\"bind\""));
	assert_int_equal(f->exports.n, 1);
	assert_int_equal(f->exports.nbinds, 0);
	exports_release(&f->exports);
	oci_config_free(f->config);
	f->config = NULL;
	refused(f, ROOT, BIND("/p", "/proc/self", "\"bind\""), "an interface of the host's kernel");
	refused(f, ROOT, BIND("/p", "/proc/1", "\"bind\""), "an interface of the host's kernel");
	refused(f, ROOT, BIND("/p", "/sys/../proc/1/ns", "\"bind\""),
		"an interface of the host's kernel");
	refused(f, "{\"path\":\"/proc\"}", "", "root.path '/proc': it is an interface");
}

static void test_special_files(void **state)
{
	struct fixture *f = *state;

	open_ok(f, ROOT,
		BIND("/null", "/dev/null", "\"bind\"") "," BIND("/fifo", "fifo", "\"bind\""));
	assert_int_equal(f->exports.n, 3);
}

static int swap_fd = -1, swap_after; /* somebody else acts after so many looks */

int __real_statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *out);
int __wrap_statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *out);
int __wrap_statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *out)
{
	int r = __real_statx(dirfd, path, flags, mask, out);

	if (swap_fd >= 0 && --swap_after == 0) {
		assert_int_equal(unlinkat(swap_fd, "link", 0), 0);
		assert_int_equal(symlinkat("rootfs", swap_fd, "link"), 0);
	}
	return r;
}

/* What was looked at is what is exported, and what the monitor's view shows */
static void test_swapped_source(void **state)
{
	struct fixture *f = *state;
	struct stat volume, exported, view;

	swap_fd = f->bundle_fd;
	swap_after = 2; /* the first is at the root */
	open_ok(f, ROOT, BIND("/data", "link", "\"bind\""));
	swap_fd = -1;
	assert_int_equal(swap_after, 0);
	assert_int_equal(fstatat(f->bundle_fd, "volume", &volume, 0), 0);
	assert_int_equal(fstat(f->exports.items[1].fd, &exported), 0);
	assert_int_equal(fstat(f->exports.binds[0].view_fd, &view), 0);
	assert_int_equal(exported.st_ino, volume.st_ino);
	assert_int_equal(view.st_ino, volume.st_ino);
}

/* One more than the file server's table holds */
static void test_too_many(void **state)
{
	struct fixture *f = *state;
	char *mounts = malloc(MACHINE_EXPORTS_MAX * 128),
	     *json = malloc(MACHINE_EXPORTS_MAX * 128 + 128), name[32];
	size_t len = 0;
	int n;

	for (int i = 0; i < MACHINE_EXPORTS_MAX; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdirat(f->bundle_fd, name, 0755), 0);
		len += (size_t)sprintf(
			mounts + len,
			"%s{\"destination\":\"/"
			"%s\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"bind\"]}",
			i ? "," : "", name, name);
	}
	n = sprintf(json, "{\"ociVersion\":\"1.0.2\",\"root\":" ROOT ",\"mounts\":[%s]}", mounts);
	assert_int_equal(oci_config_parse(json, (size_t)n, &f->config, &f->err), 0);
	free(mounts);
	free(json);
	if (geteuid() != 0) {
		open_ok(f, NULL, NULL);
		return;
	}
	assert_int_equal(exports_open(f->config, f->bundle_fd, &f->exports, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.msg, "more than 256"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_shared),
		TEST(test_no_way_out),
		TEST(test_root_read_only),
		TEST(test_root_must_be_prepared),
		TEST(test_refused),
		TEST(test_special_files),
		TEST(test_kernel_interfaces),
		TEST(test_swapped_source),
		TEST(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
