/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's view of a container as a whole: frozen and let go, its processes, its cgroup's figures, processes killed for lack of
 * memory. See tests/unit/agent_machine.c for how the agent runs here.
 */
#include "tests/unit/agent_machine.c"

static enum ttrpc_code by_id(const char *method, const char *id)
{
	Caisson__Agent__ContainerRequest request = CAISSON__AGENT__CONTAINER_REQUEST__INIT;

	request.id = (char *)id;
	return call(method, &request);
}

static void begin_by_id(struct answer *answer, const char *method, const char *id)
{
	Caisson__Agent__ContainerRequest request = CAISSON__AGENT__CONTAINER_REQUEST__INIT;

	request.id = (char *)id;
	begin(answer, method, &request);
}

static void begin_container(const char *id, const char *args, struct io *io)
{
	struct spec spec = {.args = args};

	if (create(id, &spec, io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	assert_int_equal(start(id), TTRPC_OK);
}

static void test_hello(void **state)
{
	(void)state;
	connect_agent();
	assert_int_equal(by_id("Freeze", "a"), TTRPC_FAILED_PRECONDITION);
	assert_int_equal(hello(1), TTRPC_OK);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			by_id((const char *const[]){"Freeze", "Thaw", "Processes", "Stats"}[i],
			      "nobody"),
			TTRPC_NOT_FOUND);
}

static bool silent(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 300) == 0;
}

static void test_freeze(void **state)
{
	struct io io = new_io(false), other = new_io(false);
	struct answer answer;
	char text[65536];

	(void)state;
	begin_container("f", "\"sh\",\"-c\",\"cat; exit 4\"", &io);
	assert_int_equal(by_id("Freeze", "f"), TTRPC_OK);
	/* What it gets is not answered, before it goes on */
	assert_int_equal(io_write_full(io.fds[0], "ping", 4), 0);
	assert_true(silent(io.fds[1]));
	assert_int_equal(by_id("Freeze", "f"), TTRPC_OK);
	/* An exec waits; its process is born frozen */
	begin(&answer, "Ping", &(Caisson__Agent__Empty)CAISSON__AGENT__EMPTY__INIT);
	assert_int_equal(finish(&answer), TTRPC_OK);
	{
		Caisson__Agent__ExecRequest request = CAISSON__AGENT__EXEC_REQUEST__INIT;
		Caisson__Agent__Stdio stdio;
		static const char process[] = "{\"args\":[\"true\"],\"cwd\":\"/\",\"env\":[\"PATH=/"
					      "bin\"],\"user\":{\"uid\":0,\"gid\":0}}";

		fill_stdio(&stdio, &other);
		request.id = (char *)"f";
		request.exec_id = (char *)"e";
		request.process.data = (uint8_t *)process;
		request.process.len = strlen(process);
		request.stdio = &stdio;
		begin(&answer, "Exec", &request);
	}
	assert_int_equal(by_id("Processes", "f"), TTRPC_OK);
	assert_int_equal(by_id("Stats", "f"), TTRPC_OK);
	assert_false(answer.done);
	assert_int_equal(by_id("Thaw", "f"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "ping");
	assert_int_equal(finish(&answer), TTRPC_OK);
	assert_int_equal(wait_for("f", "e"), 0);
	assert_int_equal(by_id("Thaw", "f"), TTRPC_OK);
	/* A frozen one can be killed */
	assert_int_equal(by_id("Freeze", "f"), TTRPC_OK);
	assert_int_equal(signal_to("f", "", SIGKILL, false), TTRPC_OK);
	assert_int_equal(wait_for("f", ""), 128 + SIGKILL);
	assert_int_equal(by_id("Freeze", "f"), TTRPC_FAILED_PRECONDITION);
	assert_string_equal(last.message, "container not running");
	delete ("f");
	close_io(&io);
	close_io(&other);
}

static void test_freeze_created(void **state)
{
	struct spec spec = {.args = "\"true\""};
	struct io io = new_io(false);

	(void)state;
	assert_int_equal(create("c", &spec, &io), TTRPC_OK);
	assert_int_equal(by_id("Freeze", "c"), TTRPC_OK);
	assert_int_equal(by_id("Thaw", "c"), TTRPC_OK);
	assert_int_equal(start("c"), TTRPC_OK);
	assert_int_equal(wait_for("c", ""), 0);
	/* Frozen and deleted at once */
	delete ("c");
	close_io(&io);
	io = new_io(false);
	begin_container("c", "\"sleep\",\"1000\"", &io);
	assert_int_equal(by_id("Freeze", "c"), TTRPC_OK);
	delete ("c");
	close_io(&io);
}

/* ---- processes ---- */

static Caisson__Agent__ProcessesResponse *processes(const char *id)
{
	Caisson__Agent__ProcessesResponse *list;

	assert_int_equal(by_id("Processes", id), TTRPC_OK);
	list = caisson__agent__processes_response__unpack(NULL, last.len, last.payload);
	assert_non_null(list);
	return list;
}

static const Caisson__Agent__ProcessInfo *find(const Caisson__Agent__ProcessesResponse *list,
					       const char *first_argument)
{
	for (size_t i = 0; i < list->n_processes; i++) {
		const Caisson__Agent__ProcessInfo *p = list->processes[i];

		if (p->command.len > strlen(first_argument) &&
		    strcmp((const char *)p->command.data, first_argument) == 0)
			return p;
	}
	return NULL;
}

static void test_processes(void **state)
{
	struct io io = new_io(false), terminal = new_io(true);
	Caisson__Agent__ProcessesResponse *list;
	const Caisson__Agent__ProcessInfo *p;
	struct answer answers[3];
	char text[256];

	(void)state;
	begin_container("p", "\"sh\",\"-c\",\"sleep 1000 & echo ready; wait\"", &io);
	(void)read_text(io.fds[1], text, sizeof(text), "ready");
	assert_int_equal(
		exec_in("p", "t", "\"cat\"", ",\"user\":{\"uid\":1000,\"gid\":7}", &terminal),
		TTRPC_OK);
	list = processes("p");
	while (!find(list, "sleep")) { /* the shell has forked, not yet executed */
		caisson__agent__processes_response__free_unpacked(list, NULL);
		list = processes("p");
	}
	assert_int_equal(list->n_processes, 3);
	assert_false(list->cut);
	assert_true(list->memory_bytes > 1 << 20);
	p = find(list, "sh");
	assert_non_null(p);
	assert_ptr_equal(p, list->processes[0]); /* sorted */
	assert_int_equal(p->pid, 1);
	assert_int_equal(p->parent_pid, 0);
	assert_int_equal(p->uid, 0);
	assert_int_equal(p->terminal, 0);
	assert_int_equal(p->name.len, 2);
	assert_memory_equal(p->name.data, "sh", 2);
	assert_memory_equal(p->command.data, "sh\0-c\0sleep 1000 & echo ready; wait", 36);
	assert_true(p->resident_bytes > 0 && p->virtual_bytes > p->resident_bytes);
	assert_true(p->state == 'S' || p->state == 'R');
	assert_true(llabs(p->start_s + (int64_t)(p->elapsed_ms / 1000) - list->now_s) <= 2);
	assert_true(llabs(list->now_s - time(NULL)) < 60);
	p = find(list, "sleep");
	assert_int_equal(p->parent_pid, 1);
	p = find(list, "cat");
	assert_non_null(p);
	assert_int_equal(p->uid, 1000);
	assert_int_equal(p->gid, 7);
	assert_int_equal(p->parent_pid, 0);
	assert_int_equal(p->terminal >> 8, 136);
	assert_true(p->foreground);
	assert_int_equal(p->session_id, p->pid);
	caisson__agent__processes_response__free_unpacked(list, NULL);
	/* Several at once */
	for (size_t i = 0; i < 3; i++)
		begin_by_id(&answers[i], "Processes", "p");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(finish(&answers[i]), TTRPC_OK);
	/* One that is under way while the container goes is answered, one way or the other */
	begin_by_id(&answers[0], "Processes", "p");
	delete ("p");
	assert_true(finish(&answers[0]) == TTRPC_OK ||
		    answers[0].code == TTRPC_FAILED_PRECONDITION);
	close_io(&io);
	close_io(&terminal);
}

static void test_no_pid_namespace(void **state)
{
	struct spec spec = {.args = "\"sleep\",\"1000\"", .namespaces = "{\"type\":\"mount\"}"};
	Caisson__Agent__ProcessesResponse *list;
	struct io io = new_io(false);

	(void)state;
	assert_int_equal(create("n", &spec, &io), TTRPC_OK);
	assert_int_equal(start("n"), TTRPC_OK);
	list = processes("n");
	assert_int_equal(list->n_processes, 1);
	assert_true(list->processes[0]->pid > 1);
	caisson__agent__processes_response__free_unpacked(list, NULL);
	delete ("n");
	close_io(&io);
}

/* ---- figures, memory ---- */

static void test_stats(void **state)
{
	Caisson__Agent__StatsResponse *stats;
	struct io io = new_io(false);
	uint64_t before;

	(void)state;
	begin_container("s", "\"sh\",\"-c\",\"while :; do :; done\"", &io);
	assert_int_equal(by_id("Stats", "s"), TTRPC_OK);
	stats = caisson__agent__stats_response__unpack(NULL, last.len, last.payload);
	assert_non_null(stats);
	before = stats->cpu_total_ns;
	caisson__agent__stats_response__free_unpacked(stats, NULL);
	do { /* it is spinning */
		assert_int_equal(by_id("Stats", "s"), TTRPC_OK);
		stats = caisson__agent__stats_response__unpack(NULL, last.len, last.payload);
		assert_non_null(stats);
		assert_true(stats->cpu_total_ns >= stats->cpu_user_ns);
		if (stats->cpu_total_ns > before)
			break;
		caisson__agent__stats_response__free_unpacked(stats, NULL);
	} while (true);
	if (stats->cpu_pressure) /* as this host's kernel has it */
		assert_true(stats->cpu_pressure->some_10 <= 10000);
	for (size_t i = 0; i < stats->n_hugetlb; i++)
		assert_true(strstr(stats->hugetlb[i]->size, "B") != NULL);
	caisson__agent__stats_response__free_unpacked(stats, NULL);
	delete ("s");
	close_io(&io);
}

static void begin_oom(struct answer *answer, const char *id, uint64_t seen)
{
	Caisson__Agent__WaitOomRequest request = CAISSON__AGENT__WAIT_OOM_REQUEST__INIT;

	request.id = (char *)id;
	request.seen = seen;
	begin(answer, "WaitOom", &request);
}

/* This host may keep no account of memory; that a kill is seen is tested in a guest (tests/vm/events.bats) */
static void test_oom(void **state)
{
	struct io io = new_io(false);
	struct answer first, second;

	(void)state;
	begin_container("o", "\"sleep\",\"1000\"", &io);
	begin_oom(&first, "o", 0);
	begin_oom(&second, "o", 0);
	assert_int_equal(finish(&first), TTRPC_FAILED_PRECONDITION);
	assert_int_equal(by_id("Stats", "o"), TTRPC_OK);
	assert_false(second.done);
	delete ("o");
	assert_int_equal(finish(&second), TTRPC_FAILED_PRECONDITION);
	begin_oom(&first, "o", 0);
	assert_int_equal(finish(&first), TTRPC_NOT_FOUND);
	close_io(&io);
}

/* ---- cgroups below the container's ---- */

static enum ttrpc_code exec_in_cgroup(const char *id, const char *exec_id, const char *cgroup,
				      const struct io *io)
{
	Caisson__Agent__ExecRequest request = CAISSON__AGENT__EXEC_REQUEST__INIT;
	Caisson__Agent__Stdio stdio;
	static const char process[] = "{\"args\":[\"cat\",\"/proc/self/cgroup\"],\"cwd\":\"/\","
				      "\"env\":[\"PATH=/bin\"],\"user\":{\"uid\":0,\"gid\":0}}";

	fill_stdio(&stdio, io);
	request.id = (char *)id;
	request.exec_id = (char *)exec_id;
	request.process.data = (uint8_t *)process;
	request.process.len = strlen(process);
	request.cgroup = (char *)cgroup;
	request.stdio = &stdio;
	return call("Exec", &request);
}

static void test_cgroup(void **state)
{
	struct io io = new_io(false), sub = new_io(false);
	char path[256], text[256];

	(void)state;
	begin_container("g", "\"sleep\",\"1000\"", &io);
	path_in_cgroup(path, "/g/below");
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(exec_in_cgroup("g", "x", "below", &sub), TTRPC_OK);
	(void)read_text(sub.fds[1], text, sizeof(text), NULL);
	assert_non_null(strstr(text, "0::/below\n"));
	assert_int_equal(wait_for("g", "x"), 0);
	close_io(&sub);
	sub = new_io(false);
	assert_int_equal(exec_in_cgroup("g", "y", "/", &sub), TTRPC_OK);
	(void)read_text(sub.fds[1], text, sizeof(text), NULL);
	assert_non_null(strstr(text, "0::/\n"));
	close_io(&sub);
	sub = new_io(false);
	assert_int_equal(exec_in_cgroup("g", "z", "../", &sub), TTRPC_INVALID_ARGUMENT);
	assert_non_null(strstr(last.message, "../ is not a sub cgroup path"));
	assert_int_equal(exec_in_cgroup("g", "z", "missing", &sub), TTRPC_INVALID_ARGUMENT);
	assert_non_null(strstr(last.message, "cgroup 'missing' of the container"));
	close_io(&sub);
	delete ("g");
	close_io(&io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_freeze),
		cmocka_unit_test(test_freeze_created),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_no_pid_namespace),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_oom),
		cmocka_unit_test(test_cgroup),
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
