/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks, run for true with /bin/sh, and the record that is kept of them. */
#include "oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/io.h"
#include "lib/path.h"

static char dir[] = "/tmp/caisson-hooks-XXXXXX";
static struct oci_pair annotation = {(char *)"k", (char *)"v\"w"};
static const struct oci_state state = {
	.oci_version = (char *)"1.2.0",
	.id = (char *)"c1",
	.pid = 42,
	.bundle = (char *)"/b",
	.annotations = {.items = &annotation, .n = 1},
};

static struct oci_config *config(const char *hooks)
{
	struct oci_config *c = NULL;
	struct err err = {0};
	char *text;

	assert_true(asprintf(&text,
			     "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"annotations\":{"
			     "\"k\":\"v\\\"w\"},\"hooks\":%s}",
			     hooks) > 0);
	if (oci_config_parse(text, strlen(text), &c, &err) < 0)
		fail_msg("%s", err.msg);
	free(text);
	return c;
}

/* A list of prestart hooks, each a line for the shell */
static struct oci_config *scripts(const char *first, const char *second, const char *more)
{
	struct oci_config *c;
	char *text;

	assert_true(
		asprintf(&text,
			 "{\"prestart\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"%s\"]%s},"
			 "{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"%s\"]}]}",
			 first, more, second) > 0);
	c = config(text);
	free(text);
	return c;
}

static struct oci_hook_run plain(void)
{
	return (struct oci_hook_run){
		.state = &state, .status = OCI_CREATING, .cwd_fd = -1, .abort_fd = -1};
}

static int run_prestart(struct oci_config *c, const struct oci_hook_run *given, struct err *err)
{
	struct oci_hook_run run = given ? *given : plain();
	int r = oci_hooks_run(c->hooks, OCI_HOOK_PRESTART, &run, err);

	oci_config_free(c);
	return r;
}

/* Content of a file in the test's directory; "" when it is not there */
static const char *slurp(const char *name)
{
	static char text[256 << 10];
	char path[256];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	if (fd >= 0)
		(void)close(fd);
	return text;
}

static int enter(void **unused)
{
	(void)unused;
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static int leave(void **unused)
{
	(void)unused;
	return chdir("/") < 0 || path_remove_tree(AT_FDCWD, dir, NULL) < 0;
}

static int wipe(void **unused)
{
	(void)unused;
	return system("rm -rf ./*") != 0;
}

static void test_order_and_state(void **unused)
{
	struct err err = {0};

	(void)unused;
	if (run_prestart(scripts("echo 1 >> log; cat > in1", "echo 2 >> log; cat > in2", ""), NULL,
			 &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(slurp("log"), "1\n2\n");
	assert_string_equal(slurp("in1"),
			    "{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"status\":\"creating\","
			    "\"pid\":42,\"bundle\":\"/b\",\"annotations\":{\"k\":\"v\\\"w\"}}");
	assert_string_equal(slurp("in2"), strdupa(slurp("in1")));
}

static void test_stopped_has_no_pid(void **unused)
{
	struct oci_state s = state;
	char *text = NULL;

	(void)unused;
	s.annotations.n = 0;
	assert_true(oci_state_hook(&s, OCI_STOPPED, &text, NULL) > 0);
	assert_string_equal(text, "{\"ociVersion\":\"1.2.0\",\"id\":\"c1\",\"status\":\"stopped\","
				  "\"bundle\":\"/b\"}");
	free(text);
	s.pid = 0;
	assert_true(oci_state_hook(&s, OCI_CREATING, &text, NULL) > 0);
	assert_null(strstr(text, "pid"));
	free(text);
}

/* More than a pipe holds, whether it is read or not */
static void test_large_state(void **unused)
{
	struct oci_hook_run run = plain();
	struct oci_state s = state;
	size_t len = 200 << 10;
	char *value = malloc(len + 1);
	struct oci_pair pair = {(char *)"big", value};

	(void)unused;
	assert_non_null(value);
	memset(value, 'x', len);
	value[len] = '\0';
	s.annotations.items = &pair;
	run.state = &s;
	assert_int_equal(run_prestart(scripts("true", "cat > in", ""), &run, NULL), 0);
	assert_true(strlen(slurp("in")) > len);
	assert_int_equal(slurp("in")[strlen(slurp("in")) - 1], '}');
	free(value);
}

static void fails_with(struct oci_config *c, int code, const char *message)
{
	struct err err = {0};

	assert_int_equal(run_prestart(c, NULL, &err), -code);
	assert_string_equal(err.msg, message);
}

static void test_failures(void **unused)
{
	(void)unused;
	fails_with(scripts("exit 3", "touch never", ""), EIO,
		   "error running prestart hook #0: exit status 3, stdout: , stderr: ");
	fails_with(scripts("true", "echo out; echo two >&2; echo lines >&2; exit 1", ""), EIO,
		   "error running prestart hook #1: exit status 1, stdout: out, stderr: two lines");
	fails_with(scripts("kill -9 $$", "touch never", ""), EIO,
		   "error running prestart hook #0: signal: killed, stdout: , stderr: ");
	fails_with(config("{\"prestart\":[{\"path\":\"/nonexistent/x\"}]}"), EIO,
		   "error running prestart hook #0: fork/exec /nonexistent/x: missing");
	fails_with(config("{\"prestart\":[{\"path\":\"/etc/passwd\"}]}"), EIO,
		   "error running prestart hook #0: fork/exec /etc/passwd: access refused by the "
		   "system");
	assert_int_equal(access("never", F_OK), -1);
}

/* The last of what it said, in one line without control characters, whole characters only */
static void test_long_output(void **unused)
{
	struct err err = {0};
	char *tail;

	(void)unused;
	assert_int_equal(run_prestart(scripts("seq 20000 >&2; i=0; while [ $i -lt 500 ]; do printf "
					      "'\\\\303\\\\244'; i=$((i+1)); done; printf "
					      "'\\\\033z'; exit 7",
					      "true", ""),
				      NULL, &err),
			 -EIO);
	assert_non_null(strstr(err.msg, "exit status 7, stdout: ..."));
	assert_non_null(strstr(err.msg, "\303\244 z, stderr: ..."));
	assert_int_equal(json_utf8_step(strstr(err.msg, "\303"), 2), 2);
	assert_null(strstr(err.msg, ".\244"));
	tail = err.msg + strlen(err.msg) - strlen(" 19999 20000");
	assert_string_equal(tail, " 19999 20000");
	assert_null(strpbrk(err.msg, "\n\033"));
	assert_true(strlen(err.msg) < 2 * OCI_HOOK_OUTPUT_MAX + 120);
}

static bool is_running(pid_t pid)
{
	char path[64], text[256] = "";
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	(void)close(fd);
	return strrchr(text, ')') && strrchr(text, ')')[2] != 'Z';
}

static void gone(const char *file)
{
	pid_t pid = atoi(slurp(file));
	uint64_t deadline = io_now_ms() + 10000;

	assert_true(pid > 1);
	while (is_running(pid) && io_now_ms() < deadline)
		(void)usleep(1000);
	assert_false(is_running(pid));
}

static void test_timeout_kills_the_group(void **unused)
{
	uint64_t begin = io_now_ms();

	(void)unused;
	fails_with(scripts("trap : TERM; sleep 1000 & echo $! > child; (sleep 1000 & echo $! > "
			   "grandchild; wait) & echo $$ > self; wait; wait",
			   "touch never", ",\"timeout\":1"),
		   ETIMEDOUT,
		   "error running prestart hook #0: hook ran past specified timeout of 1.0s");
	assert_true(io_now_ms() - begin >= 1000);
	gone("self");
	gone("child");
	gone("grandchild");
	assert_int_equal(access("never", F_OK), -1);
}

static void test_within_timeout(void **unused)
{
	(void)unused;
	assert_int_equal(run_prestart(scripts("true", "true", ",\"timeout\":1000"), NULL, NULL), 0);
}

/* What it leaves in the background, with its stdout, is not waited for, and lives on */
static void test_background(void **unused)
{
	uint64_t begin = io_now_ms();
	pid_t pid;

	(void)unused;
	assert_int_equal(
		run_prestart(scripts("sleep 1000 & echo $! > child", "true", ""), NULL, NULL), 0);
	assert_true(io_now_ms() - begin < 500000);
	pid = atoi(slurp("child"));
	assert_true(is_running(pid));
	assert_int_equal(kill(pid, SIGKILL), 0);
}

/* One that fills its pipes without end is read until it is killed */
static void test_flood(void **unused)
{
	(void)unused;
	fails_with(scripts("while :; do echo x; echo y >&2; done", "true", ",\"timeout\":1"),
		   ETIMEDOUT,
		   "error running prestart hook #0: hook ran past specified timeout of 1.0s");
}

static void test_environment(void **unused)
{
	struct oci_hook_run run = plain();
	char *given[] = {(char *)"FROM=caller", NULL};

	(void)unused;
	(void)setenv("CAISSON_TEST", "own", 1);
	/* A shell would add its own */
	fails_with(
		config("{\"prestart\":[{\"path\":\"/bin/sh\",\"args\":[\"x\",\"-c\",\"tr '\\\\0' "
		       "'\\\\n' < /proc/$$/environ >&2; exit 1\"],\"env\":[\"A=1\",\"B=\"]}]}"),
		EIO, "error running prestart hook #0: exit status 1, stdout: , stderr: A=1 B=");
	fails_with(
		config("{\"prestart\":[{\"path\":\"/bin/sh\",\"args\":[\"x\",\"-c\",\"tr '\\\\0' "
		       "'\\\\n' < /proc/$$/environ >&2; exit 1\"],\"env\":[]}]}"),
		EIO, "error running prestart hook #0: exit status 1, stdout: , stderr: ");
	assert_int_equal(run_prestart(scripts("[ $CAISSON_TEST = own ]", "true", ""), NULL, NULL),
			 0);
	run.env = given;
	assert_int_equal(run_prestart(scripts("[ $FROM = caller ] && [ -z $CAISSON_TEST ]", "true",
					      ",\"env\":[]"),
				      &run, NULL),
			 0);
	assert_int_equal(run_prestart(scripts("[ -z $FROM ] && [ $OWN = 1 ]", "true",
					      ",\"env\":[\"OWN=1\"]"),
				      &run, NULL),
			 0);
}

/* argv as given, else the path; descriptors 0 to 2 and no other; default signals, none blocked; where it is told to start */
static void test_process(void **unused)
{
	struct oci_hook_run run = plain();
	struct err err = {0};
	int extra = open("/dev/null", O_RDONLY), cwd = open("/usr", O_PATH | O_DIRECTORY);

	(void)unused;
	assert_true(extra >= 0 && cwd >= 0);
	(void)signal(SIGUSR1, SIG_IGN);
	if (run_prestart(config("{\"prestart\":[{\"path\":\"/bin/sh\",\"args\":[\"other "
				"name\",\"-c\",\"tr "
				"'\\\\0' , < /proc/$$/cmdline > args; for i in 3 4 5 6 7 8 9 11; "
				"do [ ! -L "
				"/proc/$$/fd/$i ] || exit 1; done\"]}]}"),
			 &run, &err) < 0)
		fail_msg("%s", err.msg);
	assert_memory_equal(slurp("args"), "other name,-c,", strlen("other name,-c,"));
	/* No shell: it blocks signals for moments of its own. The missing file makes it fail, which quotes what it said */
	fails_with(
		config("{\"prestart\":[{\"path\":\"/bin/grep\",\"args\":[\"grep\",\"-hsE\","
		       "\"^Sig(Blk|Ign)\",\"/proc/self/status\",\"/nonexistent\"]}]}"),
		EIO,
		"error running prestart hook #0: exit status 2, stdout: SigBlk: 0000000000000000 "
		"SigIgn: 0000000000000000, stderr: ");
	(void)signal(SIGUSR1, SIG_DFL);
	run.cwd_fd = cwd;
	assert_int_equal(run_prestart(scripts("[ $PWD = /usr ]", "true", ""), &run, NULL), 0);
	assert_int_equal(
		run_prestart(config("{\"prestart\":[{\"path\":\"/bin/true\"}]}"), NULL, NULL), 0);
	(void)close(extra);
	(void)close(cwd);
}

/* ---- giving up ---- */

static bool abort_now(void *arg)
{
	char byte;

	return read(*(int *)arg, &byte, 1) == 1;
}

static void test_abort_by_descriptor(void **unused)
{
	struct oci_hook_run run = plain();
	struct err err = {0};
	int fds[2];

	(void)unused;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	run.abort_fd = fds[0];
	run.is_aborted = abort_now;
	run.arg = &fds[0];
	/* It says so itself, by the one descriptor that we have in common */
	assert_int_equal(run_prestart(scripts("true", "true", ""), &run, &err), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(run_prestart(scripts("sleep 1000", "touch never", ""), &run, &err),
			 -ECANCELED);
	assert_string_equal(err.msg, "error running prestart hook #0: the hook was given up");
	assert_int_equal(access("never", F_OK), -1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static volatile sig_atomic_t caught;

static void on_signal(int signo)
{
	caught = signo;
}

static bool is_caught(void *arg)
{
	(void)arg;
	return caught != 0;
}

/* A signal at any moment, also between the look and the wait */
static void test_abort_by_signal(void **unused)
{
	struct sigaction action = {.sa_handler = on_signal}, old;
	struct oci_hook_run run = plain();

	(void)unused;
	run.is_aborted = is_caught;
	assert_int_equal(sigaction(SIGUSR2, &action, &old), 0);
	for (int i = 0; i < 5; i++) {
		caught = 0;
		assert_int_equal(run_prestart(scripts("kill -USR2 $PPID; exec sleep 1000",
						      "touch never", ""),
					      &run, NULL),
				 -ECANCELED);
	}
	assert_int_equal(sigaction(SIGUSR2, &old, NULL), 0);
	assert_int_equal(access("never", F_OK), -1);
}

/* The caller is killed: its hook goes with it */
static void test_dies_with_caller(void **unused)
{
	uint64_t deadline = io_now_ms() + 60000;
	pid_t pid = fork();

	(void)unused;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)run_prestart(scripts("echo $$ > self; exec sleep 1000", "true", ""), NULL,
				   NULL);
		_exit(0);
	}
	while (!strchr(slurp("self"), '\n') && io_now_ms() < deadline)
		(void)usleep(1000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	gone("self");
}

/* ---- the record ---- */

static const char all_kinds[] =
	"{\"prestart\":[{\"path\":\"/a\"}],\"createRuntime\":[{\"path\":\"/b\",\"args\":[]}],"
	"\"createContainer\":[{\"path\":\"/c\",\"env\":[]}],\"startContainer\":[{\"path\":\"/d\"}],"
	"\"poststart\":[{\"path\":\"/e\",\"args\":[\"x\",\"y z\"],\"env\":[\"A=b\"],\"timeout\":9},"
	"{\"path\":\"/f\"}],\"poststop\":[{\"path\":\"/g\"}]}";

static void test_record(void **unused)
{
	struct oci_config *c = config(all_kinds);
	struct oci_hook_record *record = NULL;
	struct err err = {0};
	char *text = NULL;
	ssize_t n = oci_hook_record_write(c, "/the bundle", &text, &err);

	(void)unused;
	assert_true(n > 0);
	assert_non_null(strstr(text, all_kinds + 1));
	assert_int_equal(oci_hook_record_parse(text, (size_t)n, &record, &err), 0);
	assert_string_equal(record->bundle, "/the bundle");
	assert_string_equal(record->oci_version, "1.2.0");
	assert_string_equal(record->annotations.items[0].value, "v\"w");
	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++) {
		assert_int_equal(record->hooks[kind].n, c->hooks[kind].n);
		for (size_t i = 0; i < record->hooks[kind].n; i++) {
			const struct oci_hook *a = &record->hooks[kind].items[i],
					      *b = &c->hooks[kind].items[i];

			assert_string_equal(a->path, b->path);
			assert_int_equal(a->timeout_s, b->timeout_s);
			assert_int_equal(a->args.n, b->args.n);
			assert_int_equal(!a->env.items, !b->env.items);
		}
	}
	assert_string_equal(oci_hook_name(OCI_HOOK_POSTSTOP), "poststop");
	for (size_t len = 0; len < (size_t)n; len++) {
		struct oci_hook_record *cut = NULL;

		assert_int_equal(oci_hook_record_parse(text, len, &cut, NULL), -EINVAL);
		assert_null(cut);
	}
	oci_hook_record_free(record);
	oci_hook_record_free(NULL);
	oci_config_free(c);
	free(text);
}

static void test_bad_record(void **unused)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"[]", "hooks.json: not an object"},
		{"{\"ociVersion\":\"1\"}", "hooks.json: bundle: is missing"},
		{"{\"ociVersion\":\"1\",\"bundle\":\"b\"}",
		 "hooks.json: bundle: 'b' is not absolute"},
		{"{\"ociVersion\":\"1\",\"bundle\":\"/b\",\"hooks\":{\"poststop\":[{}]}}",
		 "hooks.json: hooks.poststop[0].path: is missing"},
		{"{\"ociVersion\":\"1\",\"bundle\":\"/b\",\"annotations\":{\"a\":1}}",
		 "hooks.json: annotations.a: a number, not a string"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_hook_record *record = NULL;
		struct err err = {0};

		assert_int_equal(
			oci_hook_record_parse(cases[i].text, strlen(cases[i].text), &record, &err),
			-EINVAL);
		assert_string_equal(err.msg, cases[i].message);
		assert_null(record);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order_and_state, wipe),
		cmocka_unit_test_setup(test_stopped_has_no_pid, wipe),
		cmocka_unit_test_setup(test_large_state, wipe),
		cmocka_unit_test_setup(test_failures, wipe),
		cmocka_unit_test_setup(test_long_output, wipe),
		cmocka_unit_test_setup(test_timeout_kills_the_group, wipe),
		cmocka_unit_test_setup(test_within_timeout, wipe),
		cmocka_unit_test_setup(test_background, wipe),
		cmocka_unit_test_setup(test_flood, wipe),
		cmocka_unit_test_setup(test_environment, wipe),
		cmocka_unit_test_setup(test_process, wipe),
		cmocka_unit_test_setup(test_abort_by_descriptor, wipe),
		cmocka_unit_test_setup(test_abort_by_signal, wipe),
		cmocka_unit_test_setup(test_dies_with_caller, wipe),
		cmocka_unit_test_setup(test_record, wipe),
		cmocka_unit_test_setup(test_bad_record, wipe),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
