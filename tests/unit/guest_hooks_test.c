/* SPDX-License-Identifier: Apache-2.0 */
/*
 * startContainer hooks: run by the agent's child, in the container, right before execve. See tests/unit/agent_machine.c for how
 * the agent runs here.
 */
#include "tests/unit/agent_machine.c"

#define HOOKS(list_) ",\"annotations\":{\"k\":\"v\"},\"hooks\":{\"startContainer\":[" list_ "]}"
#define SH(script_, more_) \
	"{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"" script_ "\"]" more_ "}"

static void expect(const struct spec *spec, int code, const char *wanted)
{
	char text[4096];
	struct io io = new_io(false);

	if (create("h", spec, &io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	if (start("h") != TTRPC_OK)
		fail_msg("Start: %s", last.message);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, wanted);
	assert_int_equal(wait_for("h", ""), code);
	delete ("h");
	close_io(&io);
}

/* In order, at start and not before, in the container's namespaces and root, as its user, where and with what it starts */
static void test_before_the_program(void **state)
{
	const struct spec spec = {
		.args = "\"sh\",\"-c\",\"cat /dev/shm/log; for n in mnt pid uts ipc; do readlink "
			"/proc/self/ns/$n; done | cmp - /dev/shm/ns && echo same; cat "
			"/dev/shm/state\"",
		.process = ",\"user\":{\"uid\":7,\"gid\":8},\"cwd\":\"/dev/shm\",\"env\":[\"PATH=/"
			   "bin\","
			   "\"FROM=process\"]",
		.top = HOOKS(SH(
			"echo one $FROM $(id -u) $(pwd) > /dev/shm/log; cat > /dev/shm/state",
			"") "," SH("echo two $FROM >> log; for n in mnt pid uts ipc; do readlink "
				   "/proc/self/ns/$n; done > ns",
				   ",\"env\":[\"FROM=hook\"]")),
	};
	char text[64];

	(void)state;
	assert_int_equal(hello(1), TTRPC_OK);
	expect(&spec, 0,
	       "one process 7 /dev/shm\ntwo hook\nsame\n"
	       "{\"ociVersion\":\"1.0.2\",\"id\":\"h\",\"status\":\"created\",\"pid\":1,"
	       "\"bundle\":\"/the/bundle\",\"annotations\":{\"k\":\"v\"}}");
	/* And the next container has none of it */
	assert_int_equal(
		run_sh("ls /dev/shm/log 2> /dev/null || echo nothing", NULL, text, sizeof(text)),
		0);
	assert_string_equal(text, "nothing\n");
}

static void test_not_at_create(void **state)
{
	struct spec spec = {.args = "\"true\"", .top = HOOKS(SH("echo x; exit 1", ""))};
	struct io io = new_io(false);

	(void)state;
	assert_int_equal(create("n", &spec, &io), TTRPC_OK);
	delete ("n");
	close_io(&io);
}

static void fails(const char *hooks, const char *message)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"echo never\"", .top = hooks};
	struct io io = new_io(false);
	char text[64];

	if (create("f", &spec, &io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	assert_int_equal(start("f"), TTRPC_ABORTED);
	assert_string_equal(last.message, message);
	assert_int_equal(wait_for("f", ""), 1);
	assert_int_equal(read_text(io.fds[1], text, sizeof(text), NULL), 0);
	delete ("f");
	close_io(&io);
}

static void test_failures(void **state)
{
	(void)state;
	fails(HOOKS(SH("true", "") "," SH("echo a; echo b >&2; exit 5", "")),
	      "error running startContainer hook #1: exit status 5, stdout: a, stderr: b");
	fails(HOOKS("{\"path\":\"/nowhere\"}"),
	      "error running startContainer hook #0: fork/exec /nowhere: missing");
	fails(HOOKS(SH("sleep 1000 & wait", ",\"timeout\":1")),
	      "error running startContainer hook #0: hook ran past specified timeout of 1.0s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_program),
		cmocka_unit_test(test_not_at_create),
		cmocka_unit_test(test_failures),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - hooks # SKIP host: needs root, namespaces, cgroup2 "
			     "and a static busybox\n");
		return 0;
	}
	connect_agent();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
