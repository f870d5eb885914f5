/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a whole: processes, their streams, terminals, signals, ends. See tests/unit/agent_machine.c for how it runs here.
 */
#include "tests/unit/agent_machine.c"

/* Descriptors and mounts of the agent, by its /proc: what a container leaves behind shows here */
static unsigned int idle_fds;

static unsigned int agent_fds(void)
{
	char path[64];
	unsigned int n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)machine.agent);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void test_hello(void **state)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	char text[sizeof(struct machine_stream_hello)] = "no hello";
	int fd;

	(void)state;
	connect_agent();
	assert_int_equal(call("Ping", &empty), TTRPC_FAILED_PRECONDITION);
	assert_int_equal(hello(99), TTRPC_FAILED_PRECONDITION);
	assert_int_equal(hello(1), TTRPC_OK);
	assert_int_equal(call("Ping", &empty), TTRPC_OK);
	assert_int_equal(call("Dance", &empty), TTRPC_UNIMPLEMENTED);
	/* One stream, so that what the agent makes on first use is there */
	fd = connect_to("stream.sock");
	assert_int_equal(io_write_full(fd, text, sizeof(text)), 0);
	assert_int_equal(recv(fd, text, 1, 0), 0);
	(void)close(fd);
	idle_fds = agent_fds();
}

static void test_run(void **state)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"echo out; echo err >&2; cat; exit 37\""};
	struct io io = new_io(false);
	char text[256];

	(void)state;
	if (create("a", &spec, &io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	assert_int_equal(start("a"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "out\n");
	(void)read_text(io.fds[2], text, sizeof(text), "err\n");
	assert_int_equal(io_write_full(io.fds[0], "hello", 5), 0);
	(void)read_text(io.fds[1], text, sizeof(text), "hello");
	assert_int_equal(shutdown(io.fds[0], SHUT_WR), 0);
	assert_int_equal(read_text(io.fds[1], text, sizeof(text), NULL), 0);
	assert_int_equal(wait_for("a", ""), 37);
	assert_int_equal(wait_for("a", ""), 37);
	assert_int_equal(start("a"), TTRPC_FAILED_PRECONDITION);
	delete ("a");
	assert_int_equal(process_call("Wait", "a", ""), TTRPC_NOT_FOUND);
	close_io(&io);
}

static unsigned int agent_lines(const char *file, const char *word)
{
	cleanup_free char *text = NULL;
	char path[64];
	unsigned int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)machine.agent, file);
	assert_true(io_read_file(AT_FDCWD, path, 1u << 20, &text, NULL) >= 0);
	for (const char *p = text; (p = strstr(p, word)); p++)
		n++;
	return n;
}

/* Until the agent has let go of everything: streams end a little later than processes */
static void wait_for_fds(void)
{
	unsigned int wanted = idle_fds;
	uint64_t end = io_now_ms() + DEADLINE_MS;

	while (agent_fds() > wanted && io_now_ms() < end)
		(void)loop_step(machine.loop, 10);
	assert_int_equal(agent_fds(), wanted);
}

static void begin_container(const char *id, const char *args, struct io *io)
{
	struct spec spec = {.args = args};

	if (create(id, &spec, io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	assert_int_equal(start(id), TTRPC_OK);
}

static void test_nothing_left(void **state)
{
	/* Only ours: mounts of another run, of which the agent has a copy, go when that run removes its directory */
	unsigned int mounts = agent_lines("mountinfo", machine.dir);
	char text[256];

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(run_sh("sleep 1000 & exit 3", NULL, text, sizeof(text)), 3);
	wait_for_fds();
	assert_int_equal(agent_lines("mountinfo", machine.dir), mounts);
}

static void test_signals(void **state)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"kill -SEGV $$\"",
			    .namespaces = "{\"type\":\"mount\"}"};
	struct io io = new_io(false);
	char text[64];

	(void)state;
	/* Without a pid namespace it is not its init, whom signals of its own cannot kill; the rest is killed with the cgroup */
	assert_int_equal(run(&spec, text, sizeof(text)), 128 + SIGSEGV);
	begin_container(
		"s",
		"\"sh\",\"-c\",\"trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done\"",
		&io);
	(void)read_text(io.fds[1], text, sizeof(text), "ready");
	assert_int_equal(signal_to("s", "", 65, false), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(signal_to("s", "x", SIGTERM, false), TTRPC_NOT_FOUND);
	assert_int_equal(signal_to("s", "", SIGTERM, false), TTRPC_OK);
	assert_int_equal(wait_for("s", ""), 5);
	assert_int_equal(signal_to("s", "", SIGTERM, false), TTRPC_FAILED_PRECONDITION);
	delete ("s");
	close_io(&io);
	io = new_io(false);
	begin_container("s", "\"sleep\",\"1000\"", &io);
	assert_int_equal(signal_to("s", "", SIGKILL, true), TTRPC_OK);
	assert_int_equal(wait_for("s", ""), 128 + SIGKILL);
	delete ("s");
	close_io(&io);
}

static void test_wait_before_end(void **state)
{
	Caisson__Agent__ProcessRequest request = CAISSON__AGENT__PROCESS_REQUEST__INIT;
	struct answer answers[AGENT_WAITERS_MAX + 1];
	struct io io = new_io(false);

	(void)state;
	begin_container("w", "\"cat\"", &io);
	request.id = (char *)"w";
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		begin(&answers[i], "Wait", &request);
	assert_int_equal(finish(&answers[AGENT_WAITERS_MAX]), TTRPC_RESOURCE_EXHAUSTED);
	assert_false(answers[0].done);
	close_fd(&io.fds[0]);
	for (size_t i = 0; i < AGENT_WAITERS_MAX; i++)
		assert_int_equal(finish(&answers[i]), TTRPC_OK);
	delete ("w");
	close_io(&io);
}

static void test_created(void **state)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"echo started\""};
	struct io io = new_io(false);
	char text[64];

	(void)state;
	assert_int_equal(create("c", &spec, &io), TTRPC_OK);
	assert_int_equal(create("c", &spec, &io), TTRPC_ALREADY_EXISTS);
	assert_int_equal(poll(&(struct pollfd){.fd = io.fds[1], .events = POLLIN}, 1, 100), 0);
	assert_int_equal(start("c"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "started");
	assert_int_equal(wait_for("c", ""), 0);
	delete ("c");
	/* One that was never started is deleted all the same */
	close_io(&io);
	io = new_io(false);
	assert_int_equal(create("c", &spec, &io), TTRPC_OK);
	delete ("c");
	assert_int_equal(read_text(io.fds[1], text, sizeof(text), NULL), 0);
	close_io(&io);
}

static void test_lookup(void **state)
{
	static const struct {
		const char *args, *process, *message;
		enum ttrpc_code code;
	} cases[] = {
		{"\"foo\"", NULL, "exec: \"foo\": executable file not found in $PATH",
		 TTRPC_NOT_FOUND},
		{"\"\"", NULL, "exec: \"\": executable file not found in $PATH", TTRPC_NOT_FOUND},
		{"\"noexec\"", NULL, "exec: \"noexec\": executable file not found in $PATH",
		 TTRPC_NOT_FOUND},
		{"\"true\"", ",\"env\":[\"PATH=\"],\"cwd\":\"/bin\"",
		 "exec: \"true\": executable file not found in $PATH", TTRPC_NOT_FOUND},
		{"\"/x/y\"", NULL, "exec: \"/x/y\": stat /x/y: no such file or directory",
		 TTRPC_NOT_FOUND},
		{"\"./foo\"", NULL, "exec: \"./foo\": stat ./foo: no such file or directory",
		 TTRPC_NOT_FOUND},
		{"\"/etc/passwd/x\"", NULL,
		 "exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory", TTRPC_NOT_FOUND},
		{"\"/etc\"", NULL, "exec: \"/etc\": is a directory", TTRPC_PERMISSION_DENIED},
		{"\"/etc/passwd\"", NULL, "exec: \"/etc/passwd\": permission denied",
		 TTRPC_PERMISSION_DENIED},
		{"\"private\"", ",\"user\":{\"uid\":1000,\"gid\":1000}",
		 "exec /bin/private: permission denied", TTRPC_PERMISSION_DENIED},
		{"\"true\"", ",\"cwd\":\"/etc/passwd\"",
		 "chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory",
		 TTRPC_NOT_FOUND},
	};
	struct io none = {.fds = {-1, -1, -1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spec spec = {.args = cases[i].args, .process = cases[i].process};

		/* The same id each time: a failed create leaves nothing */
		assert_int_equal(create("l", &spec, &none), cases[i].code);
		assert_string_equal(last.message, cases[i].message);
	}
	wait_for_fds();
}

static void test_exec_format(void **state)
{
	struct spec spec = {.args = "\"junk\""};
	struct io io = new_io(false);

	(void)state;
	assert_int_equal(create("j", &spec, &io), TTRPC_OK);
	assert_int_equal(start("j"), TTRPC_PERMISSION_DENIED);
	assert_string_equal(last.message, "exec /bin/junk: exec format error");
	delete ("j");
	close_io(&io);
}

static void test_exec(void **state)
{
	struct io main_io = new_io(false), io = new_io(false);
	char text[4096];

	(void)state;
	/* Start has answered after its execve, so process 1 is called cat */
	begin_container("e", "\"cat\"", &main_io);
	assert_int_equal(exec_in("e", "x",
				 "\"sh\",\"-c\",\"cat /proc/1/comm; echo $A; pwd; kill -9 $$\"",
				 ",\"env\":[\"PATH=/bin\",\"A=b\"],\"cwd\":\"/tmp\"", &io),
			 TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "cat\nb\n/tmp\n");
	assert_int_equal(wait_for("e", "x"), 128 + SIGKILL);
	assert_int_equal(exec_in("e", "x", "\"true\"", NULL, &io), TTRPC_ALREADY_EXISTS);
	assert_int_equal(process_call("Delete", "e", "x"), TTRPC_OK);
	assert_int_equal(process_call("Wait", "e", "x"), TTRPC_NOT_FOUND);
	assert_int_equal(exec_in("e", "y", "\"foo\"", NULL, &io), TTRPC_NOT_FOUND);
	assert_string_equal(last.message, "exec: \"foo\": executable file not found in $PATH");
	assert_int_equal(exec_in("e", "y", "\"junk\"", NULL, &io), TTRPC_PERMISSION_DENIED);
	assert_int_equal(exec_in("e", "y", "\"true\"", ",\"cwd\":\"/nope\"", &io), TTRPC_NOT_FOUND);
	assert_string_equal(
		last.message,
		"chdir to cwd (\"/nope\") set in config.json failed: no such file or directory");
	close_io(&io);
	close_fd(&main_io.fds[0]);
	assert_int_equal(wait_for("e", ""), 0);
	assert_int_equal(exec_in("e", "y", "\"true\"", NULL, &io), TTRPC_FAILED_PRECONDITION);
	delete ("e");
	close_io(&main_io);
}

/* The agent's oldest or youngest child, by its pid here */
static pid_t child_of_agent(bool youngest)
{
	cleanup_free char *text = NULL;
	char path[64], *at;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)machine.agent,
		       (int)machine.agent);
	assert_true(io_read_file(AT_FDCWD, path, 4096, &text, NULL) > 1);
	text[strlen(text) - 1] = '\0'; /* there is a space after each */
	at = youngest ? strrchr(text, ' ') : NULL;
	return (pid_t)strtol(at ? at : text, NULL, 10);
}

static void wait_for_zombie(pid_t pid)
{
	uint64_t end = io_now_ms() + DEADLINE_MS;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (;;) {
		cleanup_free char *text = NULL;

		assert_true(io_read_file(AT_FDCWD, path, 4096, &text, NULL) > 0);
		if (strstr(text, ") Z "))
			return;
		assert_true(io_now_ms() < end);
		(void)usleep(1000);
	}
}

/* An Exec that the agent sees before it sees that the container has ended, with and without another process to be reaped */
static void test_exec_too_late(void **state)
{
	struct io io = new_io(false), none = {.fds = {-1, -1, -1}};
	struct answer answer;

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin_container("d", "\"sleep\",\"1000\"", &none);
		if (i == 1)
			assert_int_equal(exec_in("d", "x", "\"sleep\",\"1000\"", NULL, &io),
					 TTRPC_OK);
		assert_int_equal(kill(machine.agent, SIGSTOP), 0);
		begin_exec(&answer, "d", "late", "\"true\"", NULL, &none);
		assert_int_equal(kill(child_of_agent(false), SIGKILL), 0);
		/* The other one dies of the first one's end, which lasts until the other has been reaped */
		wait_for_zombie(child_of_agent(true));
		assert_int_equal(kill(machine.agent, SIGCONT), 0);
		assert_int_equal(finish(&answer), TTRPC_FAILED_PRECONDITION);
		assert_string_equal(answer.message, "cannot exec in a stopped container");
		assert_int_equal(wait_for("d", ""), 128 + SIGKILL);
		delete ("d");
	}
	close_io(&io);
}

/* A grandchild holds the exec's output: the stream stays, also after Delete */
static void test_held_stream(void **state)
{
	struct io main_io = new_io(false), io = new_io(false);
	char text[64];

	(void)state;
	begin_container("h", "\"sleep\",\"1000\"", &main_io);
	assert_int_equal(exec_in("h", "x",
				 "\"sh\",\"-c\",\"(until test -e /tmp/go; do sleep 0.05; done; "
				 "echo late) &\"",
				 NULL, &io),
			 TTRPC_OK);
	assert_int_equal(wait_for("h", "x"), 0);
	assert_int_equal(process_call("Delete", "h", "x"), TTRPC_OK);
	write_text("roots/0/tmp/go", "", 0644);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "late\n");
	close_io(&io);
	delete ("h");
	close_io(&main_io);
	wait_for_fds();
}

static void test_late_stream(void **state)
{
	struct spec spec = {.args = "\"cat\""};
	struct io io = {.tokens = {++machine.next_token, ++machine.next_token, 0},
			.fds = {-1, -1, -1}};
	char text[64];

	(void)state;
	assert_int_equal(create("t", &spec, &io), TTRPC_OK);
	assert_int_equal(start("t"), TTRPC_OK);
	io.fds[0] = open_stream(io.tokens[0]);
	io.fds[1] = open_stream(io.tokens[1]);
	assert_int_equal(io_write_full(io.fds[0], "late", 4), 0);
	(void)read_text(io.fds[1], text, sizeof(text), "late");
	close_fd(&io.fds[0]);
	assert_int_equal(wait_for("t", ""), 0);
	delete ("t");
	close_io(&io);
}

static void test_broken_streams(void **state)
{
	struct machine_stream_hello bad = {.magic = 1, .token = 5};
	struct spec spec = {.args = "\"cat\""};
	int fds[STREAMS_PENDING_MAX + 8];
	struct io io;
	char text[64];
	char byte;

	(void)state;
	fds[0] = connect_to("stream.sock");
	assert_int_equal(io_write_full(fds[0], &bad, sizeof(bad)), 0);
	assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
	(void)close(fds[0]);
	/* More than may wait: the last ones are closed, maybe before they can greet; the others stay, the agent goes on */
	for (size_t i = 0; i < STREAMS_PENDING_MAX; i++)
		fds[i] = open_stream(1000000 + i);
	for (size_t i = STREAMS_PENDING_MAX; i < ARRAY_SIZE(fds); i++)
		fds[i] = connect_to("stream.sock");
	for (size_t i = STREAMS_PENDING_MAX; i < ARRAY_SIZE(fds); i++)
		assert_true(recv(fds[i], &byte, 1, 0) <= 0);
	for (size_t i = 0; i < STREAMS_PENDING_MAX; i++) {
		assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
	}
	/* Those that the host has given up make room at once, also while they could still be claimed */
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
	io = new_io(false);
	assert_int_equal(create("r", &spec, &io), TTRPC_OK);
	assert_int_equal(start("r"), TTRPC_OK);
	assert_int_equal(io_write_full(io.fds[0], "room", 4), 0);
	assert_int_equal(shutdown(io.fds[0], SHUT_WR), 0);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "room");
	assert_int_equal(wait_for("r", ""), 0);
	delete ("r");
	close_io(&io);
}

/* A stream that the host has closed before its request came still delivers what it held */
static void test_closed_stream(void **state)
{
	struct spec spec = {.args = "\"cat\""};
	struct io io = new_io(false);
	char text[64];

	(void)state;
	assert_int_equal(io_write_full(io.fds[0], "early", 5), 0);
	close_fd(&io.fds[0]);
	assert_int_equal(create("e", &spec, &io), TTRPC_OK);
	assert_int_equal(start("e"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "early");
	assert_int_equal(wait_for("e", ""), 0);
	delete ("e");
	close_io(&io);
}

static size_t agent_memory_kib(void)
{
	cleanup_free char *text = NULL;
	char path[64], *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)machine.agent);
	assert_true(io_read_file(AT_FDCWD, path, 65536, &text, NULL) >= 0);
	line = strstr(text, "VmRSS:");
	assert_non_null(line);
	return strtoul(line + 6, NULL, 10);
}

static void test_backpressure(void **state)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	struct io io = new_io(false), other = new_io(false);
	size_t before = agent_memory_kib();
	char text[64];

	(void)state;
	begin_container("b", "\"sh\",\"-c\",\"yes & sleep 1000\"", &io);
	/* Nobody reads; the writer stands still, the agent does not grow, other streams flow */
	assert_int_equal(exec_in("b", "x", "\"sh\",\"-c\",\"sleep 0.3; echo other\"", NULL, &other),
			 TTRPC_OK);
	(void)read_text(other.fds[1], text, sizeof(text), "other");
	assert_int_equal(call("Ping", &empty), TTRPC_OK);
	assert_true(agent_memory_kib() < before + 1024);
	close_io(&other);
	delete ("b");
	close_io(&io);
}

/* Wait says how much the process had written, whether or not it has been read yet, and whoever else holds the pipe */
static void test_output_bytes(void **state)
{
	struct io io = new_io(false), other = new_io(false);
	char *text = calloc(1, 200000);

	(void)state;
	begin_container("o", "\"sleep\",\"1000\"", &io);
	assert_int_equal(
		exec_in("o", "x",
			"\"sh\",\"-c\",\"sleep 1000 & head -c 100000 /dev/zero | tr '\\\\0' x; "
			"echo err >&2\"",
			NULL, &other),
		TTRPC_OK);
	assert_int_equal(wait_for("o", "x"), 0);
	assert_int_equal(last_output[0], 100000);
	assert_int_equal(last_output[1], 4);
	(void)read_text(other.fds[2], text, 200000, "err\n");
	assert_int_equal(wait_for("o", "x"), 0);
	assert_int_equal(last_output[1], 4);
	free(text);
	close_io(&other);
	delete ("o");
	close_io(&io);
}

static void test_reader_gone(void **state)
{
	struct io io = new_io(false);
	char text[64];

	(void)state;
	begin_container("g", "\"sh\",\"-c\",\"yes; echo code $? >&2\"", &io);
	(void)read_text(io.fds[1], text, sizeof(text), "y\n");
	close_fd(&io.fds[1]);
	/* busybox's yes says so and fails, or dies of SIGPIPE */
	(void)read_text(io.fds[2], text, sizeof(text), "code ");
	delete ("g");
	close_io(&io);
}

static void test_bytes(void **state)
{
	struct io io = new_io(false);
	static char block[65536];
	char text[128];

	(void)state;
	begin_container("v", "\"sha256sum\"", &io);
	for (int i = 0; i < 320; i++) {
		memset(block, 'a' + i % 26, sizeof(block));
		assert_int_equal(io_write_full(io.fds[0], block, sizeof(block)), 0);
	}
	assert_int_equal(shutdown(io.fds[0], SHUT_WR), 0);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	/* python3: hashlib.sha256(b''.join(bytes([97 + i % 26]) * 65536 for i in range(320))) */
	assert_string_equal(
		text, "5141c925da96b498dfbdeb9ebaf9148bae07b597cf0545608ad8f6145483f264  -\n");
	delete ("v");
	close_io(&io);
}

/* ---- terminals ---- */

static enum ttrpc_code resize(const char *id, unsigned int rows, unsigned int columns)
{
	Caisson__Agent__ResizeRequest request = CAISSON__AGENT__RESIZE_REQUEST__INIT;

	request.id = (char *)id;
	request.exec_id = (char *)"";
	request.rows = rows;
	request.columns = columns;
	return call("Resize", &request);
}

static void test_terminal(void **state)
{
	struct spec spec = {.args = "\"sh\"",
			    .process = ",\"consoleSize\":{\"height\":33,\"width\":77}"};
	struct io io = new_io(true), plain = new_io(false);
	char text[4096];

	(void)state;
	if (create("p", &spec, &io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	assert_int_equal(start("p"), TTRPC_OK);
	assert_int_equal(io_write_full(io.fds[1], "stty size; tty\n", 15), 0);
	(void)read_text(io.fds[1], text, sizeof(text), "33 77\r\n/dev/pts/0\r\n");
	assert_int_equal(resize("p", 40, 100), TTRPC_OK);
	assert_int_equal(io_write_full(io.fds[1], "stty size; stat -c %t:%T /dev/console\n", 38),
			 0);
	(void)read_text(io.fds[1], text, sizeof(text), "40 100\r\n88:0\r\n");
	/* Ctrl-C goes to the foreground job alone, which says itself that it is there: the echo of its name comes before it */
	assert_int_equal(io_write_full(io.fds[1], "sh -c 'echo job=$((1+2)); sleep 1000'\n", 38),
			 0);
	(void)read_text(io.fds[1], text, sizeof(text), "job=3\r\n");
	assert_int_equal(io_write_full(io.fds[1], "\003", 1), 0);
	assert_int_equal(io_write_full(io.fds[1], "echo a=$((1+1))\n", 16), 0);
	(void)read_text(io.fds[1], text, sizeof(text), "a=2\r\n");
	assert_int_equal(
		exec_in("p", "x", "\"sh\",\"-c\",\"echo no terminal; exit 4\"", NULL, &plain),
		TTRPC_OK);
	(void)read_text(plain.fds[1], text, sizeof(text), "no terminal\n");
	assert_int_equal(wait_for("p", "x"), 4);
	assert_int_equal(io_write_full(io.fds[1], "exit 9\n", 7), 0);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_int_equal(wait_for("p", ""), 9);
	delete ("p");
	close_io(&io);
	close_io(&plain);
}

/* A terminal's size may change before the child has opened it: the change is not lost */
static void test_early_resize(void **state)
{
	struct spec spec = {.args = "\"stty\",\"size\"",
			    .process = ",\"consoleSize\":{\"height\":33,\"width\":77}"};
	struct io io = new_io(true);
	struct answer answer;
	char text[256];

	(void)state;
	begin_create(&answer, "q", &spec, &io);
	assert_int_equal(resize("q", 21, 43), TTRPC_OK);
	assert_int_equal(finish(&answer), TTRPC_OK);
	assert_int_equal(start("q"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "21 43\r\n");
	delete ("q");
	close_io(&io);
}

static void test_hang_up(void **state)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"trap 'exit 11' HUP; echo up; while :; do "
				    "sleep 0.1; done\""};
	struct io io = new_io(true), main_io = new_io(false);
	char text[256];

	(void)state;
	assert_int_equal(create("u", &spec, &io), TTRPC_OK);
	assert_int_equal(start("u"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "up\r\n");
	/* The host's input ends: nothing happens. The host is gone: SIGHUP. */
	assert_int_equal(shutdown(io.fds[1], SHUT_WR), 0);
	assert_int_equal(resize("u", 10, 10), TTRPC_OK);
	close_io(&io);
	assert_int_equal(wait_for("u", ""), 11);
	delete ("u");
	begin_container("u", "\"sleep\",\"1000\"", &main_io);
	io = new_io(true);
	assert_int_equal(exec_in("u", "t", "\"sh\",\"-c\",\"tty; sleep 1000\"", NULL, &io),
			 TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "/dev/pts/0\r\n");
	close_io(&io);
	assert_int_equal(wait_for("u", "t"), 128 + SIGHUP);
	assert_int_equal(resize("u", 1, 1), TTRPC_FAILED_PRECONDITION);
	delete ("u");
	close_io(&main_io);
}

/* ---- many, and the end ---- */

static void test_many(void **state)
{
	struct io main_io = new_io(false);
	char id[16], text[64];

	(void)state;
	begin_container("m", "\"sleep\",\"1000\"", &main_io);
	for (int i = 0; i < 100; i++) {
		struct io io = new_io(false);

		(void)snprintf(id, sizeof(id), "x%d", i);
		assert_int_equal(
			exec_in("m", id, "\"sh\",\"-c\",\"(true & sleep 0) ; exit 6\"", NULL, &io),
			TTRPC_OK);
		(void)read_text(io.fds[1], text, sizeof(text), NULL);
		assert_int_equal(wait_for("m", id), 6);
		assert_int_equal(process_call("Delete", "m", id), TTRPC_OK);
		close_io(&io);
	}
	delete ("m");
	close_io(&main_io);
	wait_for_fds();
}

static void test_second_monitor(void **state)
{
	int fd = connect_to("agent.sock");
	char byte;

	(void)state;
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	(void)close(fd);
}

static void test_power_off(void **state)
{
	struct io io = new_io(false);

	(void)state;
	begin_container("z", "\"sleep\",\"1000\"", &io);
	ttrpc_conn_free(take_ptr(&machine.conn));
	assert_int_equal(next_event(), MACHINE_AGENT_POWER_OFF << 16);
	close_io(&io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_nothing_left),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_wait_before_end),
		cmocka_unit_test(test_created),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_exec_format),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_too_late),
		cmocka_unit_test(test_held_stream),
		cmocka_unit_test(test_late_stream),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_output_bytes),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_early_resize),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_second_monitor),
		cmocka_unit_test(test_broken_streams),
		cmocka_unit_test(test_closed_stream),
		cmocka_unit_test(test_power_off),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - agent # SKIP host: needs root, namespaces, cgroup2 and "
			     "a static busybox\n");
		return 0;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
