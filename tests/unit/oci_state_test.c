/* SPDX-License-Identifier: Apache-2.0 */
/* state.json, and the documents that spec and features print. */
#include "oci/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "oci/features.h"
#include "oci/spec.h"

static const char good[] =
	"{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"pid\":42,\"status\":\"running\",\"bundle\":\"/"
	"b\","
	"\"rootfs\":\"/b/r\",\"created\":\"2026-01-01T00:00:00Z\",\"annotations\":{\"a\":\"b\"},"
	"\"pidStartTime\":123,\"bootID\":\"x-y\",\"cgroup\":\"/a/b\",\"guestMemory\":134217728,"
	"\"guestCPUs\":2,\"memoryLimit\":-1,\"memorySwap\":4096}";

static void test_round_trip(void **state)
{
	struct oci_state *s = NULL;
	struct err err = {0};
	char *text = NULL;

	(void)state;
	if (oci_state_parse(good, strlen(good), &s, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(s->pid, 42);
	assert_int_equal(s->status, OCI_RUNNING);
	assert_int_equal(s->start_time, 123);
	assert_string_equal(s->cgroup, "/a/b");
	assert_int_equal(s->guest_memory_bytes, 134217728);
	assert_int_equal(s->guest_vcpus, 2);
	assert_int_equal(s->memory_limit, -1);
	assert_int_equal(s->memory_swap, 4096);
	assert_int_equal(oci_state_store(s, &text, &err), strlen(good));
	assert_string_equal(text, good);
	free(text);
	oci_state_free(s);
	oci_state_free(NULL);
}

static void test_cut(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(good); len++) {
		struct oci_state *s = NULL;

		assert_int_equal(oci_state_parse(good, len, &s, NULL), -EINVAL);
		assert_null(s);
	}
}

/* The good document with the first @from replaced */
static void refuse(const char *from, const char *to, const char *message)
{
	const char *at = strstr(good, from);
	char text[1024];
	struct oci_state *s = NULL;
	struct err err = {0};
	int r;

	assert_non_null(at);
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to,
		       at + strlen(from));
	r = oci_state_parse(text, strlen(text), &s, &err);
	if (r != -EINVAL || s || !strstr(err.msg, message))
		fail_msg("%s\n  gave %d '%s', not '%s'", text, r, err.msg, message);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("\"c1\"", "\"../c1\"", "invalid container ID format");
	refuse("\"c1\"", "\"\"", "id: is empty");
	refuse("42", "0", "pid: 0 is out of range");
	refuse("\"memoryLimit\":-1", "\"memoryLimit\":-2", "memoryLimit: -2 is out of range");
	refuse("42", "-1", "pid: -1 is out of range");
	refuse("42", "99999999", "pid: 99999999 is out of range");
	refuse("\"running\"", "\"stopped\"", "status: 'stopped' is unknown");
	refuse("\"running\"", "\"creating\"", "status: 'creating' is unknown");
	refuse("\"status\":\"running\",", "", "status: is missing");
	refuse("\"/b\"", "\"b\"", "bundle: 'b' is not absolute");
	refuse("123", "-5", "pidStartTime: -5 is out of range");
	refuse("\"pidStartTime\":123,", "", "pidStartTime: is missing");
	refuse("\"/a/b\"", "\"/a/../b\"", "cgroup");
	refuse("\"/a/b\"", "\"/a//b\"", "cgroup");
	refuse("\"/a/b\"", "\"a\"", "cgroup");
	refuse("\"b\"}", "5}", "annotations.a: a number, not a string");
}

static void test_print(void **state)
{
	struct oci_state *s = NULL;
	struct json_writer w;
	char *text = NULL;

	(void)state;
	assert_int_equal(oci_state_parse(good, strlen(good), &s, NULL), 0);
	json_write_init(&w, NULL, 4096);
	oci_state_print(&w, s, OCI_STOPPED, "root");
	assert_true(json_write_end(&w, &text, NULL) > 0);
	assert_string_equal(
		text, "{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"pid\":0,\"status\":\"stopped\","
		      "\"bundle\":\"/b\","
		      "\"rootfs\":\"/b/"
		      "r\",\"created\":\"2026-01-01T00:00:00Z\",\"annotations\":{\"a\":\"b\"},"
		      "\"owner\":\"root\"}");
	free(text);
	oci_state_free(s);
}

static void test_id(void **state)
{
	char id[OCI_ID_MAX + 2];

	(void)state;
	assert_true(oci_id_is_valid("a"));
	assert_true(oci_id_is_valid("A-z_0.9+"));
	assert_true(oci_id_is_valid("..."));
	assert_false(oci_id_is_valid(""));
	assert_false(oci_id_is_valid("."));
	assert_false(oci_id_is_valid(".."));
	assert_false(oci_id_is_valid("a/b"));
	assert_false(oci_id_is_valid("a b"));
	assert_false(oci_id_is_valid("a\n"));
	assert_false(oci_id_is_valid("\xc3\xa9"));
	memset(id, 'a', sizeof(id));
	id[OCI_ID_MAX] = '\0';
	assert_true(oci_id_is_valid(id));
	id[OCI_ID_MAX] = 'a';
	id[OCI_ID_MAX + 1] = '\0';
	assert_false(oci_id_is_valid(id));
}

static void test_spec(void **state)
{
	struct oci_config *config = NULL;
	struct err err = {0};
	char *text = NULL;
	ssize_t n;

	(void)state;
	n = oci_spec_write(false, 0, 0, &text, &err);
	assert_int_equal(n, (ssize_t)strlen(text));
	if (oci_config_parse(text, (size_t)n, &config, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(config->oci_version, OCI_VERSION);
	assert_true(config->process.terminal);
	assert_string_equal(config->process.args.items[0], "sh");
	assert_true(config->linux_.namespaces[OCI_NS_NETWORK].present);
	assert_int_equal(config->nmounts, 7);
	assert_true(config->linux_.has_resources);
	oci_config_free(config);
	free(text);

	n = oci_spec_write(true, 1000, 1000, &text, &err);
	assert_int_equal(oci_config_parse(text, (size_t)n, &config, &err), 0);
	assert_false(config->linux_.namespaces[OCI_NS_NETWORK].present);
	assert_true(config->linux_.namespaces[OCI_NS_USER].present);
	assert_false(config->linux_.has_resources);
	assert_null(strstr(text, "gid=5"));
	assert_non_null(strstr(text, "\"hostID\": 1000"));
	oci_config_free(config);
	free(text);
}

static void test_features(void **state)
{
	struct json_doc *doc = NULL;
	static const char *const sections[] = {
		"cgroup",   "seccomp",	       "apparmor",   "selinux",
		"intelRdt", "mountExtensions", "netDevices",
	};
	struct json_at root, linux_at, part;
	struct err err = {0};
	char *text = NULL;
	ssize_t n = oci_features_write("9.9", &text, &err);

	(void)state;
	assert_int_equal(json_parse("features", text, (size_t)n, 1u << 20, &doc, &err), 0);
	root = json_root(doc);
	assert_int_equal(json_member(&root, "ociVersionMin", JSON_STRING, &part, &err), 1);
	assert_string_equal(part.node->text, "1.0.0");
	assert_int_equal(json_member(&root, "ociVersionMax", JSON_STRING, &part, &err), 1);
	assert_string_equal(part.node->text, OCI_VERSION);
	assert_int_equal(json_member(&root, "hooks", JSON_ARRAY, &part, &err), 1);
	assert_int_equal(
		json_member(&root, "potentiallyUnsafeConfigAnnotations", JSON_ARRAY, &part, &err),
		1);
	assert_string_equal(part.node->first->text, "org.caisson.");
	/* containerd takes it for granted */
	assert_int_equal(json_member(&root, "linux", JSON_OBJECT, &linux_at, &err), 1);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		assert_int_equal(json_member(&linux_at, sections[i], JSON_OBJECT, &part, &err), 1);
	assert_int_equal(json_member(&linux_at, "memoryPolicy", JSON_OBJECT, &part, &err), 0);
	json_doc_free(doc);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_print),
		cmocka_unit_test(test_id),	   cmocka_unit_test(test_spec),
		cmocka_unit_test(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
