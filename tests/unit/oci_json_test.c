/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from strangers: what is refused, with which words, and what is understood. */
#include "oci/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "oci/config.h"

static int parse(const char *text, size_t len, struct json_doc **doc, struct err *err)
{
	return json_parse("doc", text, len, 1u << 20, doc, err);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *message;
	} cases[] = {
#define CASE(text_, message_) {text_, sizeof(text_) - 1, message_}
		CASE("", "doc: line 1, column 1: premature EOF"),
		CASE("   \n ", "doc: line 2, column 2: premature EOF"),
		CASE("{\"a\":1", "doc: line 1, column 7: premature EOF"),
		CASE("{\"a\":1,\n  \"b\": tru }", "doc: line 2, column 10: "),
		CASE("[1]x", "doc: line 1, column 4: trailing garbage"),
		CASE("[1] [2]", "doc: line 1, column 5: trailing garbage"),
		CASE("{\"a\":1,}", "doc: line 1, column 8: "),
		CASE("{a:1}", "doc: line 1, column 2: "),
		CASE("[1,/* c */2]", "doc: line 1, column "),
		CASE("[01]", "doc: line 1, column "),
		CASE("[NaN]", "doc: line 1, column "),
		CASE("[\"a\0b\"]", "doc: line 1, column 4: a NUL byte"),
		CASE("[1]\0", "doc: line 1, column 4: a NUL byte"),
		CASE("[\"\\u0000\"]", "doc: line 1, column 3: a NUL character in a string"),
		CASE("{\"\\u0000\":1}", "doc: line 1, column 3: a NUL character in a string"),
		CASE("[\"\xff\"]", "doc: line 1, column 3: not valid UTF-8"),
		CASE("[\"\xc0\x80\"]", "doc: line 1, column 3: not valid UTF-8"),
		CASE("[\"\xed\xa0\x80\"]", "doc: line 1, column 3: not valid UTF-8"),
		CASE("[\"\xf4\x90\x80\x80\"]", "doc: line 1, column 3: not valid UTF-8"),
		CASE("[\"\xe2\x82\"]", "doc: line 1, column 3: not valid UTF-8"),
		CASE("[\"\\ud800\"]",
		     "doc: line 1, column 3: half of a surrogate pair in a string"),
		CASE("[\"\\udc00\"]",
		     "doc: line 1, column 3: half of a surrogate pair in a string"),
		CASE("[\"\\ud800\\u0041\"]",
		     "doc: line 1, column 3: half of a surrogate pair in a string"),
		CASE("[\"\\ud800", "doc: line 1, column 3: half of a surrogate pair in a string"),
		CASE("[\"\n\"]", "doc: line 1, column "),
		CASE("[\"\\x\"]", "doc: line 1, column "),
		CASE("[\"\\", "doc: line 1, column "),
#undef CASE
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_doc *doc = NULL;
		struct err err = {0};
		int r = parse(cases[i].text, cases[i].len, &doc, &err);

		if (r != -EINVAL || doc ||
		    strncmp(err.msg, cases[i].message, strlen(cases[i].message)) != 0)
			fail_msg("case %zu '%s': %d '%s', expected '%s'", i, cases[i].text, r,
				 err.msg, cases[i].message);
	}
}

static void test_comments(void **state)
{
	static const char *const good[] = {
		"// a \"comment\n[1]",	  "[1] // at the end, \\u0000 \"",
		"/* \"\\u0000 */[1]/**/", "[/*/ still one */1]",
		"[1 /* * / ** */]",	  "[\"// in a string /*\"]",
		"/* \xc3\xa9 */ [1]//\n", "//\n//\n[1]\n",
	};
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"/* [1]", "doc: line 1, column "},
		{"[1] /", "doc: line 1, column "},
		{"[1] # no", "doc: line 1, column 5: "},
		{"/* \xff */[1]", "doc: line 1, column 4: not valid UTF-8"},
		{"/* \" */[\"\\u0000\"]", "doc: line 1, column 10: a NUL character"},
		{"// \"\n[\"\\ud800\"]", "doc: line 2, column 3: half of a surrogate pair"},
		{"[1, // x\n 2,]", "doc: line 2, column "},
		{"// nothing\n", "doc: line 2, column 1: premature EOF"},
	};
	struct json_doc *doc = NULL;
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (json_parse_commented("doc", good[i], strlen(good[i]), 100, &doc, &err) < 0)
			fail_msg("%s: %s", good[i], err.msg);
		assert_int_equal(json_root(doc).node->n, 1);
		json_doc_free(doc);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(json_parse_commented("doc", bad[i].text, strlen(bad[i].text), 100,
						      &doc, &err),
				 -EINVAL);
		if (strncmp(err.msg, bad[i].message, strlen(bad[i].message)) != 0)
			fail_msg("%s: %s", bad[i].text, err.msg);
	}
	/* Others have none */
	assert_int_equal(parse("//\n[1]", 6, &doc, &err), -EINVAL);
}

static void fill(char *text, size_t depth, char open, char close)
{
	memset(text, open, depth);
	memset(text + depth, close, depth);
	text[2 * depth] = '\0';
}

static void test_depth(void **state)
{
	char text[2 * (OCI_DEPTH_MAX + 1) + 1];
	struct json_doc *doc = NULL;
	struct err err = {0};

	(void)state;
	fill(text, OCI_DEPTH_MAX, '[', ']');
	assert_int_equal(parse(text, strlen(text), &doc, &err), 0);
	json_doc_free(doc);
	fill(text, OCI_DEPTH_MAX + 1, '[', ']');
	assert_int_equal(parse(text, strlen(text), &doc, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nested too deeply"));
}

/* "[1,1,…]" of @n items */
static char *items(size_t n)
{
	char *text = malloc(2 * n + 2);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + 2 * i, i ? ",1" : "[1", 2);
	memcpy(text + 2 * n, "]", 2);
	return text;
}

static void test_counts(void **state)
{
	struct json_doc *doc = NULL;
	struct err err = {0};
	char *text = items(OCI_ITEMS_MAX), *row, *many;
	size_t len;

	(void)state;
	assert_int_equal(parse(text, strlen(text), &doc, &err), 0);
	assert_int_equal(json_root(doc).node->n, OCI_ITEMS_MAX);
	json_doc_free(doc);
	free(text);
	text = items(OCI_ITEMS_MAX + 1);
	assert_int_equal(parse(text, strlen(text), &doc, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too many items"));
	free(text);

	/* rows of 8000 items pass each, all together are too many */
	row = items(8000);
	len = strlen(row);
	many = malloc(20 * (len + 1) + 2);
	assert_non_null(many);
	many[0] = '[';
	for (size_t i = 0; i < 20; i++) {
		memcpy(many + 1 + i * (len + 1), row, len);
		many[(i + 1) * (len + 1)] = i < 19 ? ',' : ']';
	}
	assert_int_equal(parse(many, 20 * (len + 1) + 1, &doc, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too many values"));
	free(row);
	free(many);
}

static void test_size(void **state)
{
	struct json_doc *doc = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(json_parse("doc", "[  1]", 5, 5, &doc, &err), 0);
	json_doc_free(doc);
	doc = NULL;
	assert_int_equal(json_parse("doc", "[   1]", 6, 5, &doc, &err), -EFBIG);
	assert_string_equal(err.msg, "doc: larger than 5 bytes");
	assert_null(doc);
	assert_int_equal(json_parse("doc", "[   1]", 6, 5, &doc, NULL), -EFBIG);
}

static void test_long_number(void **state)
{
	char text[JSON_NUMBER_MAX + 8];
	struct json_doc *doc = NULL;
	struct err err = {0};

	(void)state;
	memset(text, '1', sizeof(text));
	text[0] = '[';
	text[sizeof(text) - 1] = ']';
	assert_int_equal(parse(text, sizeof(text), &doc, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "digits"));
}

static void test_member(void **state)
{
	static const char text[] =
		"{\"a\":1,\"b\":null,\"a\":\"two\",\"\\ud83d\\ude00\":[\"x\",5]}";
	struct json_doc *doc = NULL;
	struct json_at root, at, it = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(parse(text, sizeof(text) - 1, &doc, &err), 0);
	root = json_root(doc);
	assert_int_equal(json_member(&root, "a", JSON_STRING, &at, &err), 1);
	assert_string_equal(at.node->text, "two"); /* the last one counts */
	assert_int_equal(json_member(&root, "b", JSON_OBJECT, &at, &err), 0);
	assert_int_equal(json_member(&root, "c", JSON_OBJECT, &at, &err), 0);
	assert_null(at.node);
	assert_int_equal(json_member(&root, "a", JSON_NUMBER, &at, &err), -EINVAL);
	assert_string_equal(err.msg, "doc: a: a string, not a number");
	assert_int_equal(json_member(&root, "\xf0\x9f\x98\x80", JSON_ARRAY, &at, &err), 1);
	assert_int_equal(json_each(&at, JSON_STRING, &it, &err), 1);
	assert_string_equal(it.node->text, "x");
	assert_int_equal(json_each(&at, JSON_STRING, &it, &err), -EINVAL);
	assert_string_equal(err.msg, "doc: ????[1]: a number, not a string");
	json_doc_free(doc);
}

static void test_each_object(void **state)
{
	static const char text[] = "{\"a\":\"1\",\"b\":\"2\"}";
	struct json_doc *doc = NULL;
	struct json_at root, it = {0};
	struct err err = {0};
	size_t n = 0;

	(void)state;
	assert_int_equal(parse(text, sizeof(text) - 1, &doc, &err), 0);
	root = json_root(doc);
	while (json_each(&root, JSON_STRING, &it, &err) > 0) {
		assert_string_equal(it.name, n ? "b" : "a");
		n++;
	}
	assert_int_equal(n, 2);
	json_doc_free(doc);
}

static void test_utf8(void **state)
{
	(void)state;
	assert_int_equal(json_utf8_step("a", 1), 1);
	assert_int_equal(json_utf8_step("", 0), 0);
	assert_int_equal(json_utf8_step("\xc3\xa9", 2), 2);
	assert_int_equal(json_utf8_step("\xc3\xa9", 1), 0);
	assert_int_equal(json_utf8_step("\xe2\x82\xac", 3), 3);
	assert_int_equal(json_utf8_step("\xf0\x9f\x98\x80", 4), 4);
	assert_int_equal(json_utf8_step("\xf0\x8f\x98\x80", 4), 0);
	assert_int_equal(json_utf8_step("\xe0\x9f\x80", 3), 0);
	assert_int_equal(json_utf8_step("\x80", 1), 0);
	assert_int_equal(json_utf8_step("\xf5\x80\x80\x80", 4), 0);
	assert_int_equal(json_utf8_step("\xe2\x28\xa1", 3), 0);
}

static void test_write(void **state)
{
	struct json_writer w;
	char *text = NULL;
	ssize_t n;

	(void)state;
	json_write_init(&w, NULL, 1024);
	json_write_open(&w, '{');
	json_write_key(&w, "a\"b");
	json_write_string(&w, "x\\\n\t\r\001\x7f\xffz\xc3\xa9");
	json_write_key(&w, "n");
	json_write_open(&w, '[');
	json_write_int(&w, INT64_MIN);
	json_write_uint(&w, UINT64_MAX);
	json_write_hundredths(&w, 0);
	json_write_hundredths(&w, 5);
	json_write_hundredths(&w, 1230);
	json_write_hundredths(&w, 100);
	json_write_bool(&w, true);
	json_write_bool(&w, false);
	json_write_string(&w, NULL);
	json_write_open(&w, '{');
	json_write_close(&w, '}');
	json_write_close(&w, ']');
	json_write_close(&w, '}');
	n = json_write_end(&w, &text, NULL);
	assert_int_equal(n, (ssize_t)strlen(text));
	assert_string_equal(text,
			    "{\"a\\\"b\":\"x\\\\\\n\\t\\r\\u0001\\u007f\xef\xbf\xbdz\xc3\xa9\","
			    "\"n\":[-9223372036854775808,"
			    "18446744073709551615,0,0.05,12.3,1,true,false,null,{}]}");
	free(text);
}

static void test_write_indented(void **state)
{
	static const char *const words[] = {"x", "y"};
	struct json_writer w;
	char *text = NULL;

	(void)state;
	json_write_init(&w, "  ", 1024);
	json_write_open(&w, '{');
	json_write_key(&w, "a");
	json_write_strings(&w, words, 2);
	json_write_key(&w, "b");
	json_write_strings(&w, NULL, 0);
	json_write_close(&w, '}');
	assert_true(json_write_end(&w, &text, NULL) > 0);
	assert_string_equal(text, "{\n  \"a\": [\n    \"x\",\n    \"y\"\n  ],\n  \"b\": []\n}");
	free(text);
}

static void test_write_errors(void **state)
{
	struct json_writer w;
	struct err err = {0};
	char *text = NULL;

	(void)state;
	json_write_init(&w, NULL, 8);
	json_write_string(&w, "longer than that");
	assert_int_equal(json_write_end(&w, &text, &err), -EMSGSIZE);
	json_write_init(&w, NULL, 64);
	json_write_open(&w, '[');
	assert_int_equal(json_write_end(&w, &text, &err), -EINVAL);
	json_write_init(&w, NULL, 64);
	json_write_close(&w, ']');
	assert_int_equal(json_write_end(&w, &text, &err), -EINVAL);
	json_write_init(&w, NULL, 1024);
	for (int i = 0; i < 100; i++)
		json_write_open(&w, '[');
	for (int i = 0; i < 100; i++)
		json_write_close(&w, ']');
	assert_int_equal(json_write_end(&w, &text, &err), -EOVERFLOW);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_depth),
		cmocka_unit_test(test_comments),       cmocka_unit_test(test_counts),
		cmocka_unit_test(test_size),	       cmocka_unit_test(test_long_number),
		cmocka_unit_test(test_member),	       cmocka_unit_test(test_each_object),
		cmocka_unit_test(test_utf8),	       cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_indented), cmocka_unit_test(test_write_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
