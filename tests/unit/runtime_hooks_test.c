/* SPDX-License-Identifier: Apache-2.0 */
/* What commands keep of hooks, and run of them. */
#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/path.h"

static char dir[] = "/tmp/caisson-rhooks-XXXXXX";
static int dir_fd;

static struct oci_config *config(const char *hooks)
{
	struct oci_config *c = NULL;
	struct err err = {0};
	char *text;

	assert_true(asprintf(&text,
			     "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"annotations\":{"
			     "\"a\":\"b\"},\"hooks\":{%s}}",
			     hooks) > 0);
	if (oci_config_parse(text, strlen(text), &c, &err) < 0)
		fail_msg("%s", err.msg);
	free(text);
	return c;
}

#define SH(script_) "{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"" script_ "\"]}"

static void file_is(const char *name, const char *want)
{
	char *text = NULL;

	assert_true(io_read_file(dir_fd, name, 64 << 10, &text, NULL) >= 0);
	assert_string_equal(text, want);
	free(text);
}

static void test_nothing_to_keep(void **state)
{
	struct oci_config *c = config("\"poststop\":[]");
	struct oci_hook_record *record = NULL;

	(void)state;
	assert_int_equal(hooks_store(dir_fd, c, "/b", NULL), 0);
	assert_int_equal(faccessat(dir_fd, HOOKS_FILE, F_OK, 0), -1);
	assert_int_equal(hooks_load(dir_fd, &record, NULL), 0);
	assert_null(record);
	hooks_delete_record(record, "c1");
	oci_config_free(c);
}

/* One that fails stops neither the others nor the command, and is told */
static void test_poststop(void **state)
{
	struct oci_config *c = config("\"prestart\":[" SH("touch never") "],\"poststop\":[" SH(
		"cat > state; echo 1 >> "
		"order") "," SH("echo 2 >> order; exit 1") ","
							   "{\"path\":\"/nowhere\"}," SH(
								   "echo 3 >> order; "
								   "echo $HOME > "
								   "home") "]");
	struct oci_hook_record *record = NULL;
	struct err err = {0};
	int log = openat(dir_fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char *text = NULL;

	(void)state;
	(void)setenv("HOME", "/the/callers", 1);
	assert_int_equal(hooks_store(dir_fd, c, "/the/bundle", &err), 0);
	oci_config_free(c);
	if (hooks_load(dir_fd, &record, &err) < 0 || !record)
		fail_msg("%s", err.msg);
	log_set_fd(log);
	hooks_delete_record(record, "c1");
	log_set_fd(-1);
	oci_hook_record_free(record);
	(void)close(log);
	file_is("order", "1\n2\n3\n");
	file_is("home", "/the/callers\n");
	file_is("state",
		"{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"status\":\"stopped\",\"bundle\":\"/"
		"the/bundle\",\"annotations\":{\"a\":\"b\"}}");
	assert_true(io_read_file(dir_fd, "log", 64 << 10, &text, NULL) > 0);
	assert_non_null(strstr(text, "level=warning"));
	assert_non_null(strstr(text, "error running poststop hook #1: exit status 1"));
	assert_non_null(
		strstr(text, "error running poststop hook #2: fork/exec /nowhere: missing"));
	free(text);
	assert_int_equal(faccessat(dir_fd, "never", F_OK, 0), -1);
}

static void test_create(void **state)
{
	struct oci_config *c = config("\"createRuntime\":[" SH("echo runtime >> calls") "," SH(
		"exit 2") "],"
			  "\"prestart\":[" SH(
				  "echo prestart $(basename $PWD) >> calls; cat > in") "]");
	const struct oci_state s = {.oci_version = c->oci_version,
				    .id = (char *)"c1",
				    .pid = 77,
				    .bundle = (char *)"/b"};
	struct err err = {0};
	char want[128];

	(void)state;
	assert_int_equal(hooks_create(c->hooks, &s, dir_fd, &err), -EIO);
	assert_string_equal(
		err.msg, "error running createRuntime hook #1: exit status 2, stdout: , stderr: ");
	file_is("in", "{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"status\":\"creating\",\"pid\":77,"
		      "\"bundle\":\"/b\"}");
	(void)snprintf(want, sizeof(want), "prestart %s\nruntime\n", dir + strlen("/tmp/"));
	file_is("calls", want);
	oci_config_free(c);
}

static void test_damaged(void **state)
{
	struct oci_hook_record *record = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(io_write_file(dir_fd, HOOKS_FILE, "{", 1, 0600, NULL), 0);
	assert_int_equal(hooks_load(dir_fd, &record, &err), -EINVAL);
	assert_null(record);
	assert_non_null(strstr(err.msg, "hooks.json: "));
}

static int enter(void **state)
{
	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	dir_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0;
}

static int leave(void **state)
{
	(void)state;
	(void)close(dir_fd);
	return chdir("/") < 0 || path_remove_tree(AT_FDCWD, dir, NULL) < 0;
}

static int wipe(void **state)
{
	(void)state;
	return system("rm -rf ./*") != 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing_to_keep, wipe),
		cmocka_unit_test_setup(test_poststop, wipe),
		cmocka_unit_test_setup(test_create, wipe),
		cmocka_unit_test_setup(test_damaged, wipe),
	};

	log_set_fd(-1);
	return cmocka_run_group_tests(tests, enter, leave);
}
