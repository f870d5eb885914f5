/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State directories: made, found, damaged, removed; and the sizes and files of a guest.
 *
 * LDFLAGS: -Wl,--wrap=flock
 */
#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "lib/io.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/settings.h"
#include "runtime/size.h"

#define MIB (1ull << 20)

static char root[PATH_MAX];
static struct globals globals = {.root = root};

static int set_up(void **state)
{
	char template[] = "/tmp/caisson-test.XXXXXX";

	(void)state;
	if (!mkdtemp(template))
		return -1;
	(void)snprintf(root, sizeof(root), "%s/a/b", template);
	return 0;
}

static int tear_down(void **state)
{
	char *slash = strrchr(root, '/');

	(void)state;
	(void)rmdir(root);
	*slash = '\0';
	(void)rmdir(root);
	*strrchr(root, '/') = '\0';
	return rmdir(root); /* fails when something is left */
}

/* A state.json that says process @pid */
static void store(struct container *container, pid_t pid, uint64_t start_time)
{
	char boot_id[64];
	struct oci_state s = {.oci_version = (char *)"1.2.0",
			      .id = (char *)container->id,
			      .status = OCI_CREATED,
			      .pid = pid,
			      .start_time = start_time,
			      .boot_id = boot_id,
			      .bundle = (char *)"/b",
			      .rootfs = (char *)"/b/r",
			      .created = (char *)"2026-01-01T00:00:00Z",
			      .cgroup = (char *)""};

	host_boot_id(boot_id, sizeof(boot_id));
	assert_int_equal(container_store(container->dir_fd, &s, NULL), 0);
}

static void test_make(void **state)
{
	struct container c, other;
	struct err err = {0};
	struct stat st;

	(void)state;
	assert_int_equal(container_make(&globals, "../x", &c, &err), -EINVAL);
	assert_string_equal(err.msg, "invalid container ID format");
	assert_int_equal(container_make(&globals, "", &c, &err), -EINVAL);
	assert_string_equal(err.msg, "container id cannot be empty");
	assert_int_equal(container_open(&globals, "c1", &other, &err), -ENOENT);
	assert_string_equal(err.msg, "container does not exist");
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	assert_int_equal(fstat(c.dir_fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
	assert_int_equal(container_make(&globals, "c1", &other, &err), -EEXIST);
	assert_string_equal(err.msg, "container with given ID already exists");
	/* while it is being made */
	assert_int_equal(container_open(&globals, "c1", &other, &err), 0);
	assert_int_equal(other.status, OCI_CREATING);
	assert_null(other.state);
	container_release(&other);
	assert_int_equal(container_load(&globals, "c1", &other, &err), -ENOENT);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
	assert_int_equal(container_open(&globals, "c1", &other, &err), -ENOENT);
}

static void test_status(void **state)
{
	struct container c, other;
	uint64_t start_time;
	struct err err = {0};
	pid_t pid;

	(void)state;
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	assert_int_equal(process_identity(getpid(), &start_time), 0);
	store(&c, getpid(), start_time);
	assert_int_equal(container_load(&globals, "c1", &other, &err), 0);
	assert_int_equal(other.status, OCI_CREATED);
	container_release(&other);
	/* the monitor's word, whatever state.json says */
	assert_int_equal(close(openat(c.dir_fd, "started", O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(container_load(&globals, "c1", &other, &err), 0);
	assert_int_equal(other.status, OCI_RUNNING);
	/* the monitor's mark */
	assert_int_equal(close(openat(c.dir_fd, "paused", O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(container_refresh(&other, &err), 0);
	assert_int_equal(other.status, OCI_PAUSED);
	container_release(&other);
	/* somebody else has the pid now */
	store(&c, getpid(), start_time + 1);
	assert_int_equal(container_load(&globals, "c1", &other, &err), 0);
	assert_int_equal(other.status, OCI_STOPPED);
	assert_int_equal(container_pidfd(&other), -ESRCH);
	container_release(&other);
	/* it has ended, and nobody has reaped it */
	pid = fork();
	if (pid == 0)
		(void)pause();
	assert_int_equal(process_identity(pid, &start_time), 0);
	store(&c, pid, start_time);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_int_equal(container_load(&globals, "c1", &other, &err), 0);
	assert_int_equal(other.status, OCI_STOPPED);
	container_release(&other);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
}

static void test_damaged(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"id\":\"c1\"}", "\377\376", "null"};
	struct container c, other;
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
		assert_int_equal(
			io_write_file(c.dir_fd, STATE_FILE, texts[i], strlen(texts[i]), 0600, &err),
			0);
		container_release(&c); /* as if the command had died */
		assert_int_equal(container_load(&globals, "c1", &other, &err), -ENOENT);
		assert_int_equal(container_open(&globals, "c1", &other, &err), 0);
		assert_int_equal(other.status, OCI_STOPPED);
		assert_int_equal(container_wait_abandoned(&other, &err), 0);
		assert_int_equal(container_lock(&other, &err), 0);
		assert_int_equal(container_remove(&other, &err), 0);
		container_release(&other);
	}
}

static void test_foreign_state(void **state)
{
	struct container c, other;
	struct err err = {0};

	(void)state;
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	c.id = "c2";
	store(&c, 1, 1);
	c.id = "c1";
	assert_int_equal(container_open(&globals, "c1", &other, &err), 0);
	assert_null(other.state);
	container_release(&other);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
}

static void test_lock_of_deleted(void **state)
{
	struct container c, other;
	struct err err = {0};

	(void)state;
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	assert_int_equal(container_open(&globals, "c1", &other, &err), 0);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
	assert_int_equal(container_lock(&other, &err), -ENOENT);
	assert_string_equal(err.msg, "container does not exist");
	container_release(&other);
}

/* Who holds on to a container that was deleted must not remove the next one of that name */
static void test_remove_another(void **state)
{
	struct container c, other;
	struct err err = {0};

	(void)state;
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	assert_int_equal(container_remove(&c, &err), 0);
	assert_int_equal(container_make(&globals, "c1", &other, &err), 0);
	assert_int_equal(container_remove(&c, &err), -ENOENT);
	assert_string_equal(err.msg, "container does not exist");
	container_release(&c);
	assert_int_equal(faccessat(other.root_fd, "c1", F_OK, 0), 0);
	assert_int_equal(container_remove(&other, &err), 0);
	container_release(&other);
}

static int busy; /* so often somebody else has the lock for a moment */

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
	if (busy > 0 && (operation & LOCK_NB)) {
		busy--;
		errno = EWOULDBLOCK;
		return -1;
	}
	return __real_flock(fd, operation);
}

/* `state` and `list` lock the directory for a moment, to see whether it is being made */
static void test_make_while_others_look(void **state)
{
	struct container c;
	struct err err = {0};

	(void)state;
	busy = 2;
	if (container_make(&globals, "c1", &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(busy, 0);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
}

/* That something cannot be read does not mean that it is not there */
static void test_no_descriptors(void **state)
{
	struct rlimit before, none;
	struct container c;
	struct err err = {0};
	uint64_t start_time;
	int opened, identity, refreshed;

	(void)state;
	assert_int_equal(container_make(&globals, "c1", &c, &err), 0);
	assert_int_equal(process_identity(getpid(), &start_time), 0);
	store(&c, getpid(), start_time);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	identity = process_identity(getpid(), &start_time);
	refreshed = container_refresh(&c, &err);
	opened = container_open(&globals, "c1", &(struct container){0}, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(identity, -EMFILE);
	assert_int_equal(refreshed, -EMFILE);
	assert_int_equal(opened, -EMFILE);
	assert_int_equal(container_remove(&c, &err), 0);
	container_release(&c);
}

static uint64_t memory_of(int64_t limit, uint64_t given, uint64_t host)
{
	struct oci_config config = {0};
	struct settings settings;
	uint64_t bytes = 0;

	settings_defaults(&settings);
	config.linux_.resources.memory.limit.value = limit;
	config.vm.memory_bytes = given;
	return size_memory(&config, &settings, host, &bytes, NULL) < 0 ? 0 : bytes;
}

static void test_memory(void **state)
{
	(void)state;
	assert_int_equal(memory_of(0, 0, 8192 * MIB), 512 * MIB);
	assert_int_equal(memory_of(-1, 0, 8192 * MIB), 512 * MIB);
	assert_int_equal(memory_of(1, 0, 8192 * MIB), 128 * MIB);
	assert_int_equal(memory_of((int64_t)(256 * MIB + 1), 0, 8192 * MIB), 262 * MIB + 64 * MIB);
	assert_int_equal(memory_of(INT64_MAX, 0, 8192 * MIB), 8320 * MIB + 64 * MIB);
	assert_int_equal(memory_of(0, 100 * MIB + 1, 8192 * MIB), 102 * MIB);
	assert_int_equal(memory_of((int64_t)(256 * MIB), 1024 * MIB, 8192 * MIB), 1024 * MIB);
	assert_int_equal(memory_of(0, 63 * MIB, 8192 * MIB), 0);
	assert_int_equal(memory_of(0, 9000 * MIB, 8192 * MIB), 0);
	assert_int_equal(memory_of(0, INT64_MAX, 8192 * MIB), 0);
}

static void test_kernel_image(void **state)
{
	unsigned char head[1024] = "\177ELF\2\1\1";

	(void)state;
	assert_false(check_is_kernel(head, sizeof(head)));
	head[18] = 62;
	assert_true(check_is_kernel(head, sizeof(head)));
	assert_false(check_is_kernel(head, 10));
	memset(head, 0, sizeof(head));
	assert_false(check_is_kernel(head, sizeof(head)));
	head[0x1fe] = 0x55;
	head[0x1ff] = 0xaa;
	memcpy(head + 0x202, "HdrS", 4);
	assert_true(check_is_kernel(head, sizeof(head)));
	assert_false(check_is_kernel(head, 0x204));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_foreign_state),
		cmocka_unit_test(test_lock_of_deleted),
		cmocka_unit_test(test_remove_another),
		cmocka_unit_test(test_make_while_others_look),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_kernel_image),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
