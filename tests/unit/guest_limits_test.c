/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a whole: a container's limits, at Create and by Update. This host's cgroup2 may have no controllers, so what is
 * seen here are device rules, and how what cannot be set is said. See tests/unit/agent_machine.c for how the agent runs here.
 */
#include "tests/unit/agent_machine.c"

#define FUSE_DEVICE \
	",\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\",\"major\":10,\"minor\":229}]"
#define OPEN_IT "(: < /dev/fuse) 2>&1 | grep -c 'not permitted'; true"

static enum ttrpc_code update(const char *id, const char *resources)
{
	Caisson__Agent__UpdateRequest request = CAISSON__AGENT__UPDATE_REQUEST__INIT;

	request.id = (char *)id;
	request.resources = (ProtobufCBinaryData){.len = strlen(resources),
						  .data = (uint8_t *)resources};
	return call("Update", &request);
}

static void expect(const char *script, const char *linux_, const char *wanted)
{
	struct spec spec = {.linux_ = linux_};
	char text[4096];
	int code = run_sh(script, &spec, text, sizeof(text));

	if (strcmp(text, wanted) != 0 || code != 0)
		fail_msg("'%s' gave %d and '%s', not '%s'", script, code, text, wanted);
}

static void test_devices(void **state)
{
	(void)state;
	assert_int_equal(hello(1), TTRPC_OK);
	expect(OPEN_IT, FUSE_DEVICE, "1\n");
	expect(OPEN_IT,
	       FUSE_DEVICE
	       ",\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"c\",\"major\":10,"
	       "\"access\":\"r\"}]}",
	       "0\n");
	expect("(: < /dev/null) && echo null",
	       ",\"resources\":{\"devices\":[{\"allow\":false,\"access\":"
	       "\"rwm\"}]}",
	       "null\n");
}

static void refuse(const char *resources, const char *words)
{
	char text[512];
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = {.args = "\"true\"", .linux_ = text};

	(void)snprintf(text, sizeof(text), ",\"resources\":%s", resources);
	assert_int_equal(create("refused", &spec, &none), TTRPC_INVALID_ARGUMENT);
	if (!strstr(last.message, words))
		fail_msg("'%s' does not say '%s'", last.message, words);
	/* Nothing is left of it */
	spec.linux_ = NULL;
	assert_int_equal(create("refused", &spec, &none), TTRPC_OK);
	delete ("refused");
}

static void test_refused(void **state)
{
	(void)state;
	refuse("{\"unified\":{\"tea.pot\":\"1\"}}",
	       "linux.resources: unified resource \"tea.pot\" can't be set: controller \"tea\" not "
	       "available");
	refuse("{\"unified\":{\"nodot\":\"1\"}}", "must be in the form CONTROLLER.PARAMETER");
	refuse("{\"memory\":{\"swap\":5}}", "unable to set swap limit without memory limit");
}

static void test_update(void **state)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = {.args = "\"true\""};

	(void)state;
	assert_int_equal(update("nobody", "{}"), TTRPC_NOT_FOUND);
	assert_int_equal(create("c", &spec, &none), TTRPC_OK);
	assert_int_equal(update("c", "{}"), TTRPC_OK);
	assert_int_equal(update("c", "{\"pids\":{\"limit\":\"x\"}}"), TTRPC_INVALID_ARGUMENT);
	assert_non_null(strstr(last.message, "pids.limit"));
	assert_int_equal(update("c", "not json"), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(update("c", "{\"unified\":{\"tea.pot\":\"1\"}}"), TTRPC_INVALID_ARGUMENT);
	assert_non_null(strstr(last.message, "\"tea\" not available"));
	assert_int_equal(update("c", "{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}"),
			 TTRPC_OK);
	assert_int_equal(start("c"), TTRPC_OK);
	assert_int_equal(wait_for("c", ""), 0);
	assert_int_equal(update("c", "{}"), TTRPC_FAILED_PRECONDITION);
	assert_string_equal(last.message, "container not running");
	delete ("c");
}

/* New rules hold for what runs already */
static void test_update_devices(void **state)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = {.args = "\"sleep\",\"1000\"", .linux_ = FUSE_DEVICE};
	const char *args = "\"sh\",\"-c\",\"(: < /dev/fuse) 2>&1 | grep -q 'not permitted'\"";

	(void)state;
	assert_int_equal(create("c", &spec, &none), TTRPC_OK);
	assert_int_equal(start("c"), TTRPC_OK);
	assert_int_equal(exec_in("c", "e1", args, "", &none), TTRPC_OK);
	assert_int_equal(wait_for("c", "e1"), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(update("c", "{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}"),
				 TTRPC_OK);
	assert_int_equal(exec_in("c", "e2", args, "", &none), TTRPC_OK);
	assert_int_equal(wait_for("c", "e2"), 1);
	assert_int_equal(update("c", "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}"),
			 TTRPC_OK);
	assert_int_equal(exec_in("c", "e3", args, "", &none), TTRPC_OK);
	assert_int_equal(wait_for("c", "e3"), 0);
	delete ("c");
}

#define CGROUP(options)                \
	",{\"destination\":\"/sys/fs/" \
	"cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[" options "]}"
#define USER "\"user\":{\"uid\":1000,\"gid\":1000}"
#define SHAPE                                                                          \
	"cd /sys/fs/cgroup; stat -c '%n %u:%g' . cgroup.procs cgroup.freeze; mkdir a " \
	"2>/dev/null && echo 0 > a/cgroup.procs && cat /proc/self/cgroup | grep ^0; true"

static void shape(const char *mounts, const char *namespaces, const char *linux_,
		  const char *wanted)
{
	struct spec spec = {
		.mounts = mounts, .process = "," USER, .namespaces = namespaces, .linux_ = linux_};
	char text[4096];

	assert_int_equal(run_sh(SHAPE, &spec, text, sizeof(text)), 0);
	if (strcmp(text, wanted) != 0)
		fail_msg("'%s' instead of '%s'", text, wanted);
}

/* A writable hierarchy is the user's, but for the limits; a read-only one is nobody's */
static void test_owner(void **state)
{
	static const char nobodys[] = ". 0:0\ncgroup.procs 0:0\ncgroup.freeze 0:0\n";
	char path[256];

	(void)state;
	shape(CGROUP("\"rw\""), NULL, NULL,
	      ". 1000:0\ncgroup.procs 1000:0\ncgroup.freeze 0:0\n0::/a\n");
	shape(CGROUP("\"nosuid\",\"ro\""), NULL, NULL, nobodys);
	shape(NULL, NULL, NULL, nobodys);
	path_in(path, "roots/0");
	assert_int_equal(lchown(path, 70000, 80000), 0);
	shape(CGROUP("\"rw\""), "{\"type\":\"user\"}," NAMESPACES,
	      ",\"uidMappings\":[{\"containerID\":0,\"hostID\":70000,\"size\":1001}],"
	      "\"gidMappings\":[{\"containerID\":0,\"hostID\":80000,\"size\":1001}]",
	      ". 1000:65534\ncgroup.procs 1000:65534\ncgroup.freeze 65534:65534\n0::/a\n");
	assert_int_equal(lchown(path, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_update),	cmocka_unit_test(test_update_devices),
		cmocka_unit_test(test_owner),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - container # SKIP host: needs root, namespaces, cgroup2 "
			     "and a static busybox\n");
		return 0;
	}
	connect_agent();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
