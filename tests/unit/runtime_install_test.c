/* SPDX-License-Identifier: Apache-2.0 */
/* What `caisson install` makes of an engine's configuration. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/cleanup.h"
#include "runtime/install.h"

static void merges(const char *text, const char *want)
{
	struct install_change change = {0};
	struct err err = {0};

	if (install_daemon_json("d.json", text, "/c", &change, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	assert_false(change.none);
	assert_string_equal(change.text, want);
	assert_int_equal(change.len, strlen(want));
	free(change.text);
}

static void undoes(const char *text, const char *want)
{
	struct install_change change = {0};
	struct err err = {0};

	if (install_daemon_json_undo("d.json", text, "/c", &change, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	if (!want)
		assert_true(change.none);
	else if (!*want)
		assert_true(!change.text && !change.none);
	else
		assert_string_equal(change.text, want);
	free(change.text);
}

static void test_merge(void **state)
{
	(void)state;
	merges("{\n \"a\": 1\n}\n",
	       "{\n \"a\": 1,\n \"runtimes\": {\n  \"caisson\": {\n   \"path\": \"/c\"\n  }\n "
	       "}\n}\n");
	merges("{\n\t\"runtimes\": {\"x\": {}},\n\t\"a\": -1e5}",
	       "{\n\t\"runtimes\": {\n\t\t\"x\": {},\n\t\t\"caisson\": {\n\t\t\t\"path\": "
	       "\"/c\"\n\t\t}\n\t},\n\t\"a\": -1e5\n}\n");
	merges(" \n",
	       "{\n    \"runtimes\": {\n        \"caisson\": {\n            \"path\": \"/c\"\n     "
	       "   }\n    }\n}\n");
}

static void test_undo(void **state)
{
	(void)state;
	undoes("", NULL);
	undoes("{}", NULL);
	undoes("{\"runtimes\":{\"x\":{}}}", NULL);
	undoes("{\"runtimes\":{\"caisson\":null}}", NULL);
	undoes("{\"runtimes\":{\"caisson\":{\"path\":\"/c\"}}}", "");
	undoes("{\n \"runtimes\":{\"caisson\":{\"path\":\"/c\"}},\n \"a\":1}", "{\n \"a\": 1\n}\n");
	undoes("{\n \"runtimes\":{\"caisson\":{\"path\":\"/c\"},\"x\":1}}",
	       "{\n \"runtimes\": {\n  \"x\": 1\n }\n}\n");
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"[]", "{", "{\"runtimes\":1}",
					  "{\"runtimes\":{\"caisson\":1}}",
					  "{\"runtimes\":{\"caisson\":{},\"caisson\":{}}}"};
	struct install_change change = {.len = 5};
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(install_daemon_json("d.json", bad[i], "/c", &change, &err),
				 -EINVAL);
		assert_int_equal(strncmp(err.msg, "d.json: ", 8), 0);
		assert_int_equal(install_daemon_json_undo("d.json", bad[i], "/c", &change, &err),
				 -EINVAL);
	}
	assert_int_equal(change.len, 5);
}

static void test_containerd(void **state)
{
	static const struct {
		const char *text;
		unsigned long version;
		bool reads;
	} cases[] = {
		{"", 1, false},
		{"version = 2", 2, false},
		{"version=3\nimports=['/e/conf.d/*.toml']", 3, true},
		{"imports = [\"conf.d/c.toml\"]\r\nversion = 3\r\n", 3, true},
		{"imports = [\n# '/e/conf.d/*.toml'\n'a',\n]\nversion = 3", 3, false},
		{"imports = [ 'a' , # x\n\t\"/e/*/c.toml\",\n]\nversion = 4\n[x]\nversion = 9", 4,
		 true},
		{"imports = ['/e/*.toml']", 1, false}, /* '*' does not cross a folder */
		{"imports = '/e/conf.d/*.toml'", 1, false},
		{"important = ['/e/conf.d/*.toml']\nversion_x = 8", 1, false},
		{"[a]\nimports = ['/e/conf.d/*.toml']", 1, false},
		{"imports = ['/e/conf.d/*.toml", 1, false},
		{"imports = ['", 1, false},
		{"imports = [", 1, false},
		{"imports", 1, false},
		{"version = x", 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned long version = 99;

		if (install_containerd_reads(cases[i].text, "/e/config.toml", "/e/conf.d/c.toml",
					     &version) != cases[i].reads ||
		    version != cases[i].version)
			fail_msg("%s: version %lu", cases[i].text, version);
	}
}

static void test_marks(void **state)
{
	static int (*const snippets[])(struct buf *, const char *) = {
		install_snippet_containerd, install_snippet_podman, install_snippet_crio};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(snippets); i++) {
		struct buf text = {.max = 4096};

		assert_int_equal(snippets[i](&text, "/c"), 0);
		assert_int_equal(buf_append(&text, "", 1), 0);
		assert_true(install_is_ours((char *)text.data));
		assert_non_null(strstr((char *)text.data, "\"/c\""));
		buf_release(&text);
	}
	assert_false(install_is_ours(""));
	assert_false(install_is_ours("# Written by somebody"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),	cmocka_unit_test(test_undo),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_containerd),
		cmocka_unit_test(test_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
