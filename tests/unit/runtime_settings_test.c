/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's settings: what a file may say, which file counts, which annotations override it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/path.h"
#include "runtime/settings.h"

static int parse(const char *text, struct settings *out, struct err *err)
{
	*err = (struct err){0};
	return settings_parse("f.json", text, strlen(text), out, err);
}

static void test_built_in(void **state)
{
	struct settings settings, empty;
	struct err err;

	(void)state;
	settings_defaults(&settings);
	assert_null(settings.kernel);
	assert_int_equal(settings.default_memory_bytes, 512 << 20);
	assert_int_equal(settings.default_vcpus, 1);
	assert_int_equal(settings.max_vcpus, 254);
	assert_int_equal(settings.boot_timeout_s, 60);
	assert_int_equal(settings.heartbeat_s, 10);
	assert_false(settings.debug);
	assert_int_equal(parse("{}", &empty, &err), 0);
	assert_true(settings_equal(&settings, &empty));
	assert_null(empty.file);
}

/* What is installed says what is built in, and names every key */
static void test_shipped(void **state)
{
	cleanup_free char *text = NULL;
	struct settings settings, shipped;
	struct err err = {0};
	char quoted[64];
	ssize_t n;

	(void)state;
	n = io_read_file(AT_FDCWD, "config/caisson.json", SETTINGS_FILE_MAX, &text, &err);
	if (n < 0 || settings_parse("caisson.json", text, (size_t)n, &shipped, &err) < 0)
		fail_msg("%s", err.msg);
	settings_defaults(&settings);
	assert_true(settings_equal(&settings, &shipped));
	for (size_t i = 0; settings_key(i); i++) {
		(void)snprintf(quoted, sizeof(quoted), "\n\t\"%s\": ", settings_key(i));
		if (!strstr(text, quoted))
			fail_msg("%s is not in the file", settings_key(i));
	}
	assert_non_null(strstr(text, "\n\t\"annotations\": "));
	settings_release(&shipped);
}

static void test_every_key(void **state)
{
	static const char text[] =
		"{\"kernel\": \"/k\", \"initramfs\": \"/i\", \"kernel-parameters\": \"a b=c\",\n"
		"\"default-memory-bytes\": 67108864, \"max-memory-bytes\": 134217728, /* x */\n"
		"\"default-vcpus\": 2, \"max-vcpus\": 3, \"boot-timeout-seconds\": 4,\n"
		"\"heartbeat-seconds\": 5, \"debug\": true, \"annotations\": [\"kernel\"]} // end";
	struct settings s, built_in, changed;
	struct err err;

	(void)state;
	if (parse(text, &s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(s.kernel, "/k");
	assert_string_equal(s.initramfs, "/i");
	assert_string_equal(s.kernel_parameters, "a b=c");
	assert_int_equal(s.default_memory_bytes, 64 << 20);
	assert_int_equal(s.max_memory_bytes, 128 << 20);
	assert_int_equal(s.default_vcpus, 2);
	assert_int_equal(s.max_vcpus, 3);
	assert_int_equal(s.boot_timeout_s, 4);
	assert_int_equal(s.heartbeat_s, 5);
	assert_true(s.debug);
	assert_int_equal(s.allowed, 1);
	settings_defaults(&built_in);
	assert_false(settings_equal(&s, &built_in));
	settings_release(&s);
	/* Each difference counts */
	for (size_t i = 0; settings_key(i); i++) {
		char one[128];
		bool number = strstr(settings_key(i), "bytes") ||
			      strstr(settings_key(i), "vcpus") ||
			      strstr(settings_key(i), "seconds");

		(void)snprintf(one, sizeof(one), "{\"%s\":%s}", settings_key(i),
			       strstr(settings_key(i), "default-m")    ? "67108864"
			       : strstr(settings_key(i), "max-m")      ? "1073741824"
			       : number				       ? "3"
			       : strcmp(settings_key(i), "debug") == 0 ? "true"
			       : strstr(settings_key(i), "events")     ? "false"
								       : "\"/x\"");
		if (parse(one, &changed, &err) < 0)
			fail_msg("%s: %s", one, err.msg);
		assert_false(settings_equal(&changed, &built_in));
		settings_release(&changed);
	}
	assert_int_equal(parse("{\"annotations\": []}", &changed, &err), 0);
	assert_false(settings_equal(&changed, &built_in));
	assert_int_equal(changed.allowed, 0);
}

static void test_not_set(void **state)
{
	struct settings s, built_in;
	struct err err;

	(void)state;
	settings_defaults(&built_in);
	assert_int_equal(
		parse("{\"kernel\": null, \"max-memory-bytes\": null, \"annotations\": null, "
		      "\"debug\": null, \"kernel-parameters\": \"\", \"initramfs\": \"\"}",
		      &s, &err),
		0);
	assert_true(settings_equal(&s, &built_in));
	assert_null(s.kernel_parameters);
	assert_null(s.initramfs);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "f.json: line 1, column 1: premature EOF"},
		{"[]", "f.json: not an object"},
		{"{\n\"debug\": tru}", "f.json: line 2, column 12: "},
		{"{\"colour\": 1}", "f.json: colour: is unknown"},
		{"{\"org.caisson.debug\": true}", "f.json: org.caisson.debug: is unknown"},
		{"{\"debug\": true, \"debug\": false}", "f.json: debug: is given twice"},
		{"{\"annotations\": [], \"annotations\": []}",
		 "f.json: annotations: is given twice"},
		{"{\"debug\": 1}", "f.json: debug: a number, not a boolean"},
		{"{\"debug\": \"true\"}", "f.json: debug: a string, not a boolean"},
		{"{\"kernel\": 1}", "f.json: kernel: a number, not a string"},
		{"{\"kernel\": \"vmlinux\"}", "f.json: kernel: 'vmlinux' is not absolute"},
		{"{\"kernel-parameters\": [\"a\"]}",
		 "f.json: kernel-parameters: an array, not a string"},
		{"{\"kernel-parameters\": \"a\\nb\"}",
		 "f.json: kernel-parameters: has characters that are not printable ASCII"},
		{"{\"default-vcpus\": 0}",
		 "f.json: default-vcpus: '0' is not a number from 1 to 254"},
		{"{\"default-vcpus\": 255}",
		 "f.json: default-vcpus: '255' is not a number from 1 to 254"},
		{"{\"default-vcpus\": 1.5}",
		 "f.json: default-vcpus: '1.5' is not a number from 1 to 254"},
		{"{\"default-vcpus\": 1e1}",
		 "f.json: default-vcpus: '1e1' is not a number from 1 to 254"},
		{"{\"default-vcpus\": -1}",
		 "f.json: default-vcpus: '-1' is not a number from 1 to 254"},
		{"{\"default-vcpus\": 18446744073709551617}",
		 "f.json: default-vcpus: '18446744073709551617' is not a number from 1 to 254"},
		{"{\"default-vcpus\": \"2\"}", "f.json: default-vcpus: a string, not a number"},
		{"{\"default-memory-bytes\": 1}",
		 "f.json: default-memory-bytes: '1' is not a number from 67108864 to "
		 "9223372036854775807"},
		{"{\"heartbeat-seconds\": 3601}",
		 "f.json: heartbeat-seconds: '3601' is not a number from 1 to 3600"},
		{"{\"boot-timeout-seconds\": 0}",
		 "f.json: boot-timeout-seconds: '0' is not a number from 1 to 3600"},
		{"{\"max-memory-bytes\": 134217728}",
		 "f.json: default-memory-bytes: 536870912 is more than max-memory-bytes, "
		 "134217728"},
		{"{\"default-vcpus\": 3, \"max-vcpus\": 2}",
		 "f.json: default-vcpus: 3 is more than max-vcpus, 2"},
		{"{\"annotations\": [\"debug\", \"annotations\"]}",
		 "f.json: annotations[1]: 'annotations' is no key that can be an annotation"},
		{"{\"annotations\": [1]}", "f.json: annotations[0]: a number, not a string"},
		{"{\"annotations\": \"debug\"}", "f.json: annotations: a string, not an array"},
	};
	struct settings s = {.kernel = (char *)"untouched"};
	char text[1200];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i].text, &s, &err) != -EINVAL ||
		    strncmp(err.msg, cases[i].message, strlen(cases[i].message)) != 0)
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
	assert_string_equal(s.kernel, "untouched");
	(void)snprintf(text, sizeof(text), "{\"kernel-parameters\": \"%01001d\"}", 0);
	assert_int_equal(parse(text, &s, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "longer than 1000 bytes"));
	assert_int_equal(settings_parse("f.json", text, SETTINGS_FILE_MAX + 1, &s, &err), -EFBIG);
}

/* ---- annotations ---- */

static int override(struct settings *s, const char *key, const char *value, struct err *err)
{
	struct oci_pair pairs[] = {{(char *)"io.other.thing", (char *)"x"},
				   {(char *)key, (char *)value}};
	struct oci_pairs annotations = {.items = pairs, .n = 2};

	*err = (struct err){0};
	return settings_override(s, &annotations, err);
}

static void test_annotations(void **state)
{
	struct settings s;
	struct err err;

	(void)state;
	settings_defaults(&s);
	assert_int_equal(override(&s, "org.caisson.default-memory-bytes", "67108864", &err), 0);
	assert_int_equal(s.default_memory_bytes, 64 << 20);
	assert_int_equal(override(&s, "org.caisson.heartbeat-seconds", "7", &err), 0);
	assert_int_equal(s.heartbeat_s, 7);
	assert_int_equal(override(&s, "org.caissonx.heartbeat-seconds", "x", &err), 0);
	assert_int_equal(override(&s, "org.caisson.heartbeat-seconds", "7 ", &err), -EINVAL);
	assert_string_equal(err.msg, "config.json: annotations: org.caisson.heartbeat-seconds: "
				     "'7 ' is not a number from 1 to 3600");
	/* The specification wants no error of a key that nobody knows; one that opens all others is none */
	assert_int_equal(override(&s, "org.caisson.heartbeats", "7", &err), 0);
	assert_int_equal(override(&s, "org.caisson.", "7", &err), 0);
	assert_int_equal(override(&s, "org.caisson.annotations", "kernel", &err), 0);
	assert_int_equal(override(&s, "org.caisson.kernel", "/b", &err), -EINVAL);
	settings_release(&s);
}

/* What reaches beyond the guest is the operator's alone, unless the operator says otherwise */
static void test_allowed(void **state)
{
	static const char *const closed[] = {"kernel",		 "initramfs", "kernel-parameters",
					     "max-memory-bytes", "max-vcpus", "debug"};
	struct settings s;
	struct err err;
	char key[64];

	(void)state;
	settings_defaults(&s);
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		(void)snprintf(key, sizeof(key), "org.caisson.%s", closed[i]);
		assert_int_equal(override(&s, key, "1", &err), -EINVAL);
		assert_non_null(strstr(err.msg, "is not allowed here: the list 'annotations' of "
						"the built-in configuration"));
	}
	assert_int_equal(parse("{\"annotations\": [\"kernel\", \"debug\", \"kernel-parameters\"], "
			       "\"kernel\": \"/a\"}",
			       &s, &err),
			 0);
	assert_int_equal(override(&s, "org.caisson.kernel", "/b", &err), 0);
	assert_string_equal(s.kernel, "/b");
	assert_int_equal(override(&s, "org.caisson.kernel", "b", &err), -EINVAL);
	assert_int_equal(override(&s, "org.caisson.kernel", "", &err), 0);
	assert_null(s.kernel);
	assert_int_equal(override(&s, "org.caisson.kernel-parameters", "psi=1 x", &err), 0);
	assert_string_equal(s.kernel_parameters, "psi=1 x");
	assert_int_equal(override(&s, "org.caisson.debug", "yes", &err), -EINVAL);
	assert_int_equal(override(&s, "org.caisson.debug", "true", &err), 0);
	assert_true(s.debug);
	assert_int_equal(override(&s, "org.caisson.default-vcpus", "1", &err), -EINVAL);
	settings_release(&s);
}

static void test_annotation_and_maximum(void **state)
{
	struct settings s;
	struct err err;

	(void)state;
	assert_int_equal(parse("{\"max-vcpus\": 2}", &s, &err), 0);
	assert_int_equal(override(&s, "org.caisson.default-vcpus", "2", &err), 0);
	assert_int_equal(override(&s, "org.caisson.default-vcpus", "3", &err), -EINVAL);
	assert_string_equal(err.msg, "config.json: annotations: default-vcpus: 3 is more than "
				     "max-vcpus, 2");
}

/* ---- files ---- */

static char dir[] = "/tmp/caisson-settings-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static int load(const char *option, const char *env, struct settings *s, struct err *err)
{
	char named[128], in_env[128];
	struct globals globals = {0};

	*err = (struct err){0};
	(void)snprintf(named, sizeof(named), "%s/%s", dir, option ? option : "");
	(void)snprintf(in_env, sizeof(in_env), "%s/%s", dir, env ? env : "");
	globals.config = option ? named : NULL;
	if (env)
		(void)setenv(SETTINGS_ENV, in_env, 1);
	else
		(void)unsetenv(SETTINGS_ENV);
	return settings_load(&globals, s, err);
}

static void test_files(void **state)
{
	struct settings s;
	struct err err;
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(dir));
	put("two", "{\"default-vcpus\": 2}");
	put("three", "{\"default-vcpus\": 3}");
	put("bad", "{\"default-vcpus\": 0}");
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load("two", "three", &s, &err), 0);
	assert_int_equal(s.default_vcpus, 2);
	(void)snprintf(path, sizeof(path), "%s/two", dir);
	assert_string_equal(s.file, path);
	settings_release(&s);
	assert_int_equal(load(NULL, "three", &s, &err), 0);
	assert_int_equal(s.default_vcpus, 3);
	assert_int_equal(override(&s, "org.caisson.kernel", "/k", &err), -EINVAL);
	assert_non_null(strstr(err.msg, s.file));
	settings_release(&s);
	assert_int_equal(load("none", "three", &s, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "--config: '/tmp/"));
	assert_int_equal(load(NULL, "none", &s, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "CAISSON_CONFIG: '/tmp/"));
	assert_int_equal(load("bad", NULL, &s, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "/bad: default-vcpus: '0' is not"));
	assert_int_equal(load("", NULL, &s, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a regular file"));
	assert_int_equal(load("fifo", NULL, &s, &err), -EINVAL);
	(void)snprintf(path, sizeof(path), "%s/two", dir);
	assert_int_equal(truncate(path, SETTINGS_FILE_MAX + 1), 0);
	assert_int_equal(load("two", NULL, &s, &err), -EFBIG);
	assert_int_equal(path_remove_tree(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_in),  cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_every_key), cmocka_unit_test(test_not_set),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_allowed),	  cmocka_unit_test(test_annotation_and_maximum),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
