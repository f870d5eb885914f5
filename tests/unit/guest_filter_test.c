/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/filter.c and its place in guest/child.c: what a process of a container with linux.seccomp may do, and what the agent
 * refuses. See tests/unit/agent_machine.c for how the agent runs here.
 */
#include "tests/unit/agent_machine.c"

#define PROFILE(rules) \
	",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" rules "]}"
#define DENY(names) "{\"names\":[" names "],\"action\":\"SCMP_ACT_ERRNO\"}"
#define NO_MKDIR PROFILE(DENY("\"mkdir\",\"mkdirat\""))
#define NNP ",\"noNewPrivileges\":true"
#define CAPS(set)                                                                               \
	",\"capabilities\":{\"bounding\":[" set "],\"effective\":[" set "],\"permitted\":[" set \
	"],\"inheritable\":[" set "],\"ambient\":[" set "]}"
#define KILL_CAP CAPS("\"CAP_KILL\"")
#define ADMIN_CAP CAPS("\"CAP_SYS_ADMIN\"")

/* The container's process: its status line by line, and one denied call */
#define LOOK                                                                                   \
	"grep -E '^(Seccomp|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs):' /proc/self/status | tr " \
	"'\\\\t\\\\n' '= '; mkdir /tmp/x 2>&1"

static void expect(const struct spec *spec, int code, const char *wanted)
{
	static char text[65536];
	int got = run_sh(LOOK, spec, text, sizeof(text));

	if (got != code || strcmp(text, wanted) != 0)
		fail_msg("%d and '%s', not %d and '%s'", got, text, code, wanted);
}

#define DENIED "mkdir: can't create directory '/tmp/x': Operation not permitted\n"
#define STATUS(set, nnp)                                                       \
	"CapInh:=00000000" set " CapPrm:=00000000" set " CapEff:=00000000" set \
	" CapAmb:=00000000" set " NoNewPrivs:=" nnp " Seccomp:=2 "

static void test_filtered(void **state)
{
	struct spec spec = {.linux_ = NO_MKDIR, .process = KILL_CAP};

	(void)state;
	assert_int_equal(hello(1), TTRPC_OK);
	/* What was kept to load the filter is gone; what the process is to have is there */
	expect(&spec, 1, STATUS("00000020", "0") DENIED);
	spec.process = KILL_CAP NNP;
	expect(&spec, 1, STATUS("00000020", "1") DENIED);
	spec.process = ADMIN_CAP;
	expect(&spec, 1, STATUS("00200000", "0") DENIED);
	spec.process = "";
	expect(&spec, 1, STATUS("00000000", "0") DENIED);
}

static void test_user(void **state)
{
	struct spec spec = {.linux_ = NO_MKDIR,
			    .process = ",\"user\":{\"uid\":1000,\"gid\":1000}" KILL_CAP};

	(void)state;
	expect(&spec, 1, STATUS("00000020", "0") DENIED);
	spec.process = ",\"user\":{\"uid\":1000,\"gid\":1000}" NNP;
	expect(&spec, 1, STATUS("00000000", "1") DENIED);
}

static void test_unfiltered(void **state)
{
	static char text[4096];
	struct spec spec = {.linux_ = ",\"seccomp\":{}"};

	(void)state;
	assert_int_equal(run_sh("grep Seccomp: /proc/self/status", NULL, text, sizeof(text)), 0);
	assert_string_equal(text, "Seccomp:\t0\n");
	assert_int_equal(run_sh("grep Seccomp: /proc/self/status", &spec, text, sizeof(text)), 0);
	assert_string_equal(text, "Seccomp:\t0\n");
}

/* All that is done on the way to execve happens before */
static void test_nothing_else_needed(void **state)
{
	static char text[4096];
	struct spec spec = {
		.process = ",\"user\":{\"uid\":1000,\"gid\":1000,\"additionalGids\":[7]}" KILL_CAP,
		.linux_ = PROFILE(
			DENY("\"setresuid\",\"setresgid\",\"setgroups\",\"prctl\","
			     "\"chdir\",\"fchdir\",\"keyctl\",\"recvfrom\",\"sendmsg\","
			     "\"sendto\",\"close_range\",\"umask\",\"setsid\","
			     "\"prlimit64\",\"setrlimit\",\"seccomp\",\"rt_sigaction\""))};

	(void)state;
	assert_int_equal(run_sh("echo there", &spec, text, sizeof(text)), 0);
	assert_string_equal(text, "there\n");
}

static void start_fails(const struct spec *given, const char *words)
{
	struct spec spec = *given;
	struct io none = {.fds = {-1, -1, -1}};

	if (!spec.args)
		spec.args = "\"true\"";
	assert_int_equal(create("fails", &spec, &none), TTRPC_OK);
	assert_int_not_equal(start("fails"), TTRPC_OK);
	if (!strstr(last.message, words))
		fail_msg("'%s' does not say '%s'", last.message, words);
	delete ("fails");
}

static void test_too_strict(void **state)
{
	static char text[4096];
	struct spec spec = {.linux_ = PROFILE(DENY("\"execve\",\"execveat\""))};

	(void)state;
	start_fails(&spec, "operation not permitted");
	spec.linux_ = PROFILE(DENY("\"capset\""));
	start_fails(&spec, "under linux.seccomp: cannot set capabilities");
	spec.process = NNP;
	assert_int_equal(run_sh("echo there", &spec, text, sizeof(text)), 0);
	spec.process = ADMIN_CAP;
	assert_int_equal(run_sh("echo there", &spec, text, sizeof(text)), 0);
	assert_string_equal(text, "there\n");
}

static void test_killed(void **state)
{
	static char text[4096];
	struct spec spec = {.linux_ = PROFILE("{\"names\":[\"getppid\",\"mkdir\",\"mkdirat\"],"
					      "\"action\":\"SCMP_ACT_KILL_PROCESS\"}")};

	(void)state;
	assert_int_equal(run_sh("exec mkdir /tmp/x", &spec, text, sizeof(text)), 128 + SIGSYS);
}

static void test_exec(void **state)
{
	static char text[4096];
	struct spec spec = {.linux_ = NO_MKDIR, .args = "\"sleep\",\"1000\""};
	struct io none = {.fds = {-1, -1, -1}}, io = new_io(false), nnp = new_io(false);

	(void)state;
	assert_int_equal(create("c", &spec, &none), TTRPC_OK);
	assert_int_equal(start("c"), TTRPC_OK);
	assert_int_equal(exec_in("c", "x", "\"sh\",\"-c\",\"" LOOK "\"", KILL_CAP, &io), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, STATUS("00000020", "0") DENIED);
	assert_int_equal(wait_for("c", "x"), 1);
	assert_int_equal(exec_in("c", "y", "\"sh\",\"-c\",\"" LOOK "\"", NNP KILL_CAP, &nnp),
			 TTRPC_OK);
	(void)read_text(nnp.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, STATUS("00000020", "1") DENIED);
	close_io(&io);
	close_io(&nnp);
	delete ("c");
}

static void refuse(const struct spec *given, const char *words)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = *given;

	spec.args = "\"true\"";
	assert_int_equal(create("refused", &spec, &none), TTRPC_INVALID_ARGUMENT);
	if (!strstr(last.message, words))
		fail_msg("'%s' does not say '%s'", last.message, words);
}

static void test_refused(void **state)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = {.linux_ = NO_MKDIR, .args = "\"true\"", .filter_len = 8};

	(void)state;
	refuse(&(struct spec){.linux_ = NO_MKDIR, .without_filter = true}, "no filter came");
	refuse(&(struct spec){.filter_len = 8}, "without a profile");
	refuse(&(struct spec){.linux_ = NO_MKDIR, .filter_len = 9}, "cannot have 9 bytes");
	refuse(&(struct spec){.linux_ = NO_MKDIR, .filter_len = SYSFILTER_BYTES_MAX + 8},
	       "cannot have 32776 bytes");
	refuse(&(struct spec){.linux_ = NO_MKDIR, .filter_flags = 8}, "flags");
	/* An instruction that loads and returns nothing: the kernel sees to it */
	assert_int_equal(create("bad", &spec, &none), TTRPC_OK);
	assert_int_not_equal(start("bad"), TTRPC_OK);
	assert_non_null(strstr(last.message, "cannot load the seccomp filter"));
	delete ("bad");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filtered),   cmocka_unit_test(test_user),
		cmocka_unit_test(test_unfiltered), cmocka_unit_test(test_nothing_else_needed),
		cmocka_unit_test(test_too_strict), cmocka_unit_test(test_killed),
		cmocka_unit_test(test_exec),	   cmocka_unit_test(test_refused),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - filter # SKIP host: needs root, namespaces, cgroup2 "
			     "and a static busybox\n");
		return 0;
	}
	connect_agent();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
