/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How processes run: scheduler, I/O priority, affinity, personality, limits, umask, environment. In the agent as a whole;
 * see tests/unit/agent_machine.c.
 */
#include "tests/unit/agent_machine.c"

static void expect(const char *script, const struct spec *spec, const char *wanted)
{
	static char text[65536];
	int code = run_sh(script, spec, text, sizeof(text));

	if (strcmp(text, wanted) != 0 || code != 0)
		fail_msg("'%s' gave %d and '%s', not '%s'", script, code, text, wanted);
}

/* Of /proc/PID/stat: nice, real-time priority, policy */
#define SHOW "cut -d' ' -f19,40,41 /proc/self/stat"

static void test_scheduler(void **state)
{
	static const struct {
		const char *scheduler, *wanted;
	} cases[] = {
		{"\"policy\":\"SCHED_OTHER\",\"nice\":-7", "-7 0 0\n"},
		{"\"policy\":\"SCHED_BATCH\",\"nice\":11", "11 0 3\n"},
		{"\"policy\":\"SCHED_IDLE\"", "0 0 5\n"},
		{"\"policy\":\"SCHED_FIFO\",\"priority\":17", "0 17 1\n"},
		{"\"policy\":\"SCHED_RR\",\"priority\":3", "0 3 2\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char process[256];
		struct spec spec = {.process = process};

		(void)snprintf(process, sizeof(process),
			       ",\"user\":{\"uid\":9,\"gid\":9},\"scheduler\":{%s}",
			       cases[i].scheduler);
		expect(SHOW, &spec, cases[i].wanted);
	}
	expect(SHOW, NULL, "0 0 0\n");
}

static void test_scheduler_refused(void **state)
{
	struct spec spec = {
		.args = "\"true\"",
		.process = ",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":100}"};
	struct io none = {.fds = {-1, -1, -1}};

	(void)state;
	assert_int_equal(create("s", &spec, &none), TTRPC_INTERNAL);
	assert_non_null(strstr(last.message, "cannot set process.scheduler"));
}

static void test_io_priority(void **state)
{
	struct spec spec = {
		.process = ",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":6}"};

	(void)state;
	expect("/bin/busybox ionice", &spec, "best-effort: prio 6\n");
	spec.process = ",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_RT\",\"priority\":2},"
		       "\"user\":{\"uid\":9,\"gid\":9}";
	expect("/bin/busybox ionice", &spec, "realtime: prio 2\n");
}

static void test_personality(void **state)
{
	struct spec spec = {.linux_ = ",\"personality\":{\"domain\":\"LINUX32\"}"};

	(void)state;
	expect("/bin/busybox uname -m", &spec, "i686\n");
	expect("/bin/busybox uname -m", NULL, "x86_64\n");
}

static void test_environment(void **state)
{
	struct spec spec = {
		.process = ",\"env\":[\"A=1\",\"PATH=/bin\",\"AB=x\",\"A=2\",\"HOME=\"],"
			   "\"user\":{\"uid\":1000,\"gid\":0}"};

	(void)state;
	expect("env | grep -v -E '^(PWD|SHLVL|OLDPWD)=' | /bin/busybox sort", &spec,
	       "A=2\nAB=x\nHOME=/home/user\nPATH=/bin\n");
	spec.process = ",\"user\":{\"uid\":77,\"gid\":0}";
	expect("echo $HOME", &spec, "/\n");
}

static void test_limits(void **state)
{
	struct spec spec = {.process = ",\"user\":{\"uid\":1000,\"gid\":0},\"rlimits\":["
				       "{\"type\":\"RLIMIT_CORE\",\"soft\":5,\"hard\":7},"
				       "{\"type\":\"RLIMIT_NOFILE\",\"soft\":8,\"hard\":8},"
				       "{\"type\":\"RLIMIT_MSGQUEUE\",\"soft\":1,\"hard\":2},"
				       "{\"type\":\"RLIMIT_FSIZE\",\"soft\":0,\"hard\":0}]"};

	(void)state;
	/* So small that nothing could be set up any more, were they set too early */
	expect("grep -E 'core file|open files|msgqueue|file size' /proc/self/limits | tr -s ' '",
	       &spec,
	       "Max file size 0 0 bytes \nMax core file size 5 7 bytes \nMax open files 8 8 files "
	       "\n"
	       "Max msgqueue size 1 2 bytes \n");
}

/* What the container has, an exec'd process has too, unless it says otherwise */
static void test_exec_inherits(void **state)
{
	struct spec spec = {
		.args = "\"sleep\",\"1000\"",
		.process =
			",\"user\":{\"uid\":0,\"gid\":0,\"umask\":7},\"scheduler\":{\"policy\":"
			"\"SCHED_BATCH\",\"nice\":4},\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\","
			"\"priority\":1},\"execCPUAffinity\":{\"final\":\"0\"},\"oomScoreAdj\":"
			"321"};
	static char text[4096];
	struct io io = {.fds = {-1, -1, -1}};

	(void)state;
	assert_int_equal(create("c", &spec, &io), TTRPC_OK);
	assert_int_equal(start("c"), TTRPC_OK);
	io = new_io(false);
	assert_int_equal(exec_in("c", "e1",
				 "\"sh\",\"-c\",\"umask; " SHOW
				 "; /bin/busybox ionice; grep Cpus_allowed_list "
				 "/proc/self/status; cat /proc/self/oom_score_adj\"",
				 NULL, &io),
			 TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "0007\n4 0 3\nbest-effort: prio 1\nCpus_allowed_list:\t0\n321\n");
	close_io(&io);
	io = new_io(false);
	assert_int_equal(
		exec_in("c", "e2",
			"\"sh\",\"-c\",\"umask; " SHOW "; cat /proc/self/oom_score_adj\"",
			",\"user\":{\"uid\":0,\"gid\":0,\"umask\":9},\"scheduler\":{\"policy\":"
			"\"SCHED_OTHER\"},\"execCPUAffinity\":{\"initial\":\"0\"},\"oomScoreAdj\":"
			"7",
			&io),
		TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "0011\n0 0 0\n7\n");
	close_io(&io);
	io = (struct io){.fds = {-1, -1, -1}};
	assert_int_equal(exec_in("c", "e3", "\"true\"",
				 ",\"execCPUAffinity\":{\"final\":\"1000-1023\"}", &io),
			 TTRPC_INTERNAL);
	assert_non_null(strstr(
		last.message, "execCPUAffinity.final: none of the guest's CPUs is in '1000-1023'"));
	assert_int_equal(exec_in("c", "e4", "\"true\"", ",\"apparmorProfile\":\"mine\"", &io),
			 TTRPC_UNIMPLEMENTED);
	delete ("c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scheduler),     cmocka_unit_test(test_scheduler_refused),
		cmocka_unit_test(test_io_priority),   cmocka_unit_test(test_personality),
		cmocka_unit_test(test_environment),   cmocka_unit_test(test_limits),
		cmocka_unit_test(test_exec_inherits),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf(
			"1..1\nok 1 - schedule # SKIP host: needs root, namespaces, cgroup2 and "
			"a static busybox\n");
		return 0;
	}
	connect_agent();
	assert_int_equal(hello(1), TTRPC_OK);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
