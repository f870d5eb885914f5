/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole monitor, with a guest that is an ordinary process.
 *
 * LDFLAGS: -Wl,--wrap=vmm_start
 *
 * vmm_start() is replaced by a fork: the child speaks the vmm's messages and serves the agent's protocol, and its
 * "containers" are programs of this host whose stdio is the streams. Everything else is real: exports, namespaces, control
 * socket, relays, exit codes. Needs root for namespaces and mounts; without it the tests are skipped.
 *
 * What the fake does instead of what it is asked for is chosen by the first word of process.args ("@panic") or by the
 * kernel parameter "fake=…".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <setjmp.h>
/* cmocka.h wants the five above */
#include <cmocka.h>

#include "guest/agent.pb-c.h"
#include "kvm/vmm.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/machine.h"
#include "lib/path.h"
#include "lib/ttrpc.h"
#include "shim/control.h"
#include "shim/protocol.h"

#if defined(__SANITIZE_ADDRESS__)
#define FINDS_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FINDS_LEAKS 1
#endif
#endif
#ifndef FINDS_LEAKS
#define FINDS_LEAKS 0
#endif

#define DEADLINE_MS 60000
#define FAKE_MAX 32

/* ================================ the fake guest ================================ */

struct fake_proc {
	bool used, ended, terminal;
	char id[64];
	pid_t pid;
	int go, echo, status;
	struct ttrpc_call *wait;
};

static struct {
	struct loop *loop;
	struct loop_source control;
	struct loop_signals signals;
	struct ttrpc_conn *conn;
	struct {
		uint64_t token;
		int fd;
	} streams[FAKE_MAX];
	struct fake_proc procs[FAKE_MAX];
	struct loop_timer sync_timer;
	const char *mode;
	char special[32];
} fake;

static bool fake_is(const char *mode)
{
	return fake.mode && strstr(fake.mode, mode);
}

static void fake_say(uint32_t type, uint32_t value, const char *text)
{
	struct vmm_msg msg = {.type = type, .value = value};

	snprintf(msg.text, sizeof(msg.text), "%s", text);
	(void)io_send_fds(fake.control.fd, &msg, sizeof(msg), NULL, 0);
}

static void fake_end(enum vmm_end end, const char *text)
{
	fake_say(VMM_MSG_ENDED, end, text);
	_exit(0);
}

static const struct ttrpc_service fake_services[];

static void fake_on_conn_close(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	ttrpc_conn_free(conn);
	_exit(0);
}

static void fake_message(void)
{
	struct machine_stream_hello hello;
	struct vmm_msg msg;
	int fd = -1;
	size_t nfds = 0;
	ssize_t n = io_recv_fds(fake.control.fd, &msg, sizeof(msg), &fd, 1, &nfds);

	if (n <= 0 || msg.type == VMM_MSG_STOP)
		_exit(0);
	if (msg.type != VMM_MSG_CONNECT)
		return;
	if (msg.value == MACHINE_VSOCK_PORT_AGENT) {
		fake.conn = ttrpc_conn_new(fake.loop, fd, fake_services, fake_on_conn_close, NULL,
					   NULL);
		return;
	}
	if (io_read_full(fd, &hello, sizeof(hello)) < 0 || hello.magic != MACHINE_STREAM_MAGIC ||
	    !hello.token)
		_exit(1);
	for (int i = 0; i < FAKE_MAX; i++) {
		if (fake.streams[i].token)
			continue;
		fake.streams[i].token = hello.token;
		fake.streams[i].fd = fd;
		return;
	}
}

static void fake_on_control(struct loop_source *source, uint32_t events)
{
	struct pollfd p = {.fd = source->fd, .events = POLLIN};

	(void)events;
	/* fake_stream() may have taken what this was called for */
	if (poll(&p, 1, 0) == 1)
		fake_message();
}

static int fake_stream(uint64_t token)
{
	if (!token)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	for (;;) {
		for (int i = 0; i < FAKE_MAX; i++) {
			if (fake.streams[i].token == token) {
				fake.streams[i].token = 0;
				return fake.streams[i].fd;
			}
		}
		fake_message();
	}
}

static struct fake_proc *fake_find(const char *id)
{
	for (int i = 0; i < FAKE_MAX; i++)
		if (fake.procs[i].used && !strcmp(fake.procs[i].id, id))
			return &fake.procs[i];
	return NULL;
}

static void fake_child(const struct oci_process *process, const int *fds, int go)
{
	sigset_t none;
	char c;

	sigemptyset(&none);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(1);
	io_close_all_from(3, &go, go >= 0);
	if (go >= 0 && read(go, &c, 1) != 1)
		_exit(1);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	io_close_all_from(3, NULL, 0);
	(void)setpgid(0, 0);
	/* "@mode" and what runs in it */
	if (process->args.items[0][0] == '@' && process->args.n > 1)
		execvp(process->args.items[1], process->args.items + 1);
	execvp(process->args.items[0], process->args.items);
	_exit(127);
}

static struct fake_proc *fake_spawn(const char *id, const struct oci_process *process,
				    const Caisson__Agent__Stdio *stdio, bool hold)
{
	struct fake_proc *p = NULL;
	int fds[3], go[2] = {-1, -1};

	for (int i = 0; i < FAKE_MAX && !p; i++)
		if (!fake.procs[i].used)
			p = &fake.procs[i];
	if (!p || (process->terminal && (stdio->stdin_token || stdio->stderr_token)))
		_exit(1);
	fds[0] = fake_stream(process->terminal ? stdio->stdout_token : stdio->stdin_token);
	fds[1] = process->terminal ? dup(fds[0]) : fake_stream(stdio->stdout_token);
	fds[2] = process->terminal ? dup(fds[0]) : fake_stream(stdio->stderr_token);
	if (hold && pipe2(go, O_CLOEXEC) < 0)
		_exit(1);
	*p = (struct fake_proc){
		.used = true, .terminal = process->terminal, .go = go[1], .echo = -1};
	snprintf(p->id, sizeof(p->id), "%s", id);
	p->pid = fork();
	if (p->pid == 0)
		fake_child(process, fds, go[0]);
	close_fd(&go[0]);
	if (process->terminal)
		p->echo = dup(fds[1]);
	for (int i = 0; i < 3; i++)
		close_fd(&fds[i]);
	return p;
}

static void fake_reply_empty(struct ttrpc_call *call)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;

	ttrpc_reply_message(call, &empty);
}

static void fake_hello(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__HelloRequest *request = caisson__agent__hello_request__unpack(NULL, len,
										      payload);
	Caisson__Agent__HelloResponse response = CAISSON__AGENT__HELLO_RESPONSE__INIT;

	(void)arg;
	response.version = fake_is("version") ? 77 : request->version;
	response.kernel = (char *)"6.12\033[31m";
	if (request->entropy.len < 32)
		_exit(1);
	caisson__agent__hello_request__free_unpacked(request, NULL);
	ttrpc_reply_message(call, &response);
}

static void fake_create(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__CreateRequest *request = caisson__agent__create_request__unpack(NULL, len,
											payload);
	Caisson__Agent__CreateResponse response = CAISSON__AGENT__CREATE_RESPONSE__INIT;
	struct oci_config *config = NULL;
	const char *program;

	(void)arg;
	if (oci_config_parse((const char *)request->config.data, request->config.len, &config,
			     NULL) < 0)
		_exit(1);
	program = config->process.args.items[0];
	if (!strcmp(program, "@missing")) {
		ttrpc_reply_error(call, TTRPC_NOT_FOUND,
				  "exec: \"missing\": executable file not found in $PATH");
	} else if (!strcmp(program, "@refuse")) {
		ttrpc_reply_error(call, TTRPC_INTERNAL, "mounting tmpfs: \033it went wrong");
	} else if (!strcmp(program, "@panic-in-create")) {
		fake_end(VMM_END_PANIC, "in create");
	} else {
		snprintf(fake.special, sizeof(fake.special), "%s",
			 program[0] == '@' ? program : "");
		response.pid = fake_spawn("", &config->process, request->stdio, true)->pid;
		ttrpc_reply_message(call, &response);
	}
	oci_config_free(config);
	caisson__agent__create_request__free_unpacked(request, NULL);
}

static void fake_start(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct fake_proc *p = fake_find("");

	(void)payload;
	(void)len;
	(void)arg;
	if (!strcmp(fake.special, "@panic"))
		fake_end(VMM_END_PANIC, "Fatal exception\nforged \"line\"");
	if (!strcmp(fake.special, "@die"))
		_exit(9);
	if (!strcmp(fake.special, "@bye"))
		ttrpc_conn_free(fake.conn);
	if (!strcmp(fake.special, "@hang") || !strcmp(fake.special, "@stopped") ||
	    !strcmp(fake.special, "@spin")) {
		fake_reply_empty(call);
		(void)loop_step(fake.loop, 0);
		if (!strcmp(fake.special, "@stopped"))
			(void)raise(SIGSTOP);
		while (strcmp(fake.special, "@spin") != 0)
			pause();
		for (volatile unsigned int i = 0;; i++)
			;
	}
	if (p->go < 0) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "it has been started");
		return;
	}
	if (write(p->go, "x", 1) != 1)
		_exit(1);
	close_fd(&p->go);
	fake_reply_empty(call);
}

static void fake_exec(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__ExecRequest *request = caisson__agent__exec_request__unpack(NULL, len,
										    payload);
	Caisson__Agent__ExecResponse response = CAISSON__AGENT__EXEC_RESPONSE__INIT;
	struct oci_process *process = NULL;

	(void)arg;
	if (oci_process_parse((const char *)request->process.data, request->process.len, &process,
			      NULL) < 0) {
		ttrpc_reply_error(call, TTRPC_INVALID_ARGUMENT, "process: malformed");
	} else if (process->args.items[0][0] == '@') {
		ttrpc_reply_error(call, TTRPC_NOT_FOUND,
				  "exec: \"%s\": executable file not found in $PATH",
				  process->args.items[0]);
	} else {
		response.pid = fake_spawn(request->exec_id, process, request->stdio, false)->pid;
		ttrpc_reply_message(call, &response);
	}
	oci_process_free(process);
	caisson__agent__exec_request__free_unpacked(request, NULL);
}

static void fake_answer_wait(struct fake_proc *p)
{
	Caisson__Agent__WaitResponse response = CAISSON__AGENT__WAIT_RESPONSE__INIT;

	if (!p->wait || !p->ended)
		return;
	response.oom_kills = !strcmp(fake.special, "@oom-last") ? 1 : 0;
	if (WIFSIGNALED(p->status))
		response.signal = (uint32_t)WTERMSIG(p->status);
	else
		response.exit_code = (uint32_t)WEXITSTATUS(p->status);
	ttrpc_reply_message(p->wait, &response);
	p->wait = NULL;
}

static void fake_wait(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__ProcessRequest *request = caisson__agent__process_request__unpack(NULL, len,
											  payload);
	struct fake_proc *p = fake_find(request->exec_id);

	(void)arg;
	caisson__agent__process_request__free_unpacked(request, NULL);
	if (!p) {
		ttrpc_reply_error(call, TTRPC_NOT_FOUND, "no such process");
		return;
	}
	p->wait = call;
	fake_answer_wait(p);
}

static struct ttrpc_call *fake_oom;

static void fake_answer_oom(uint64_t kills)
{
	Caisson__Agent__WaitOomResponse response = CAISSON__AGENT__WAIT_OOM_RESPONSE__INIT;
	struct ttrpc_call *call = fake_oom;

	fake_oom = NULL;
	response.kills = kills;
	if (call)
		ttrpc_reply_message(call, &response);
}

static void fake_signal(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__SignalRequest *request = caisson__agent__signal_request__unpack(NULL, len,
											payload);
	struct fake_proc *p = fake_find(request->exec_id);

	(void)arg;
	if (!strcmp(fake.special, "@deaf")) {
		caisson__agent__signal_request__free_unpacked(request, NULL);
		return;
	}
	if (p && !p->ended && !strcmp(fake.special, "@oom") && request->signal == SIGUSR1) {
		static uint64_t kills;

		fake_answer_oom(++kills);
		fake_reply_empty(call);
	} else if (p && !p->ended) {
		kill(request->all ? -p->pid : p->pid, (int)request->signal);
		kill(p->pid, (int)request->signal);
		fake_reply_empty(call);
	} else {
		ttrpc_reply_error(call, TTRPC_NOT_FOUND, "no such process");
	}
	caisson__agent__signal_request__free_unpacked(request, NULL);
}

static void fake_resize(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__ResizeRequest *request = caisson__agent__resize_request__unpack(NULL, len,
											payload);
	struct fake_proc *p = fake_find(request->exec_id);

	(void)arg;
	if (p && p->echo >= 0)
		dprintf(p->echo, "size %ux%u\n", request->rows, request->columns);
	caisson__agent__resize_request__free_unpacked(request, NULL);
	if (strcmp(fake.special, "@deaf") != 0)
		fake_reply_empty(call);
}

static void fake_delete(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__ProcessRequest *request = caisson__agent__process_request__unpack(NULL, len,
											  payload);
	struct fake_proc *p = fake_find(request->exec_id);

	(void)arg;
	if (p)
		p->used = false;
	caisson__agent__process_request__free_unpacked(request, NULL);
	fake_reply_empty(call);
}

static bool fake_frozen;

static void fake_freeze(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)len;
	(void)arg;
	if (!strcmp(fake.special, "@no-freeze")) {
		ttrpc_reply_error(call, TTRPC_DEADLINE_EXCEEDED, "it does not stop");
		return;
	}
	fake_frozen = true;
	kill(fake_find("")->pid, SIGSTOP);
	fake_reply_empty(call);
}

static void fake_thaw(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)len;
	(void)arg;
	fake_frozen = false;
	kill(fake_find("")->pid, SIGCONT);
	fake_reply_empty(call);
}

static void fake_processes(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__ProcessInfo info = CAISSON__AGENT__PROCESS_INFO__INIT, *list[] = {&info};
	Caisson__Agent__ProcessesResponse response = CAISSON__AGENT__PROCESSES_RESPONSE__INIT;
	uint8_t *big;

	(void)payload;
	(void)len;
	(void)arg;
	if (!strcmp(fake.special, "@big")) {
		big = calloc(1, CONTROL_ANSWER_MAX + 1);
		ttrpc_reply(call, big, CONTROL_ANSWER_MAX + 1);
		free(big);
		return;
	}
	info.pid = 7;
	info.state = fake_frozen ? 'D' : 'R';
	info.command = (ProtobufCBinaryData){.data = (uint8_t *)"a\0\033b", .len = 5};
	response.processes = list;
	response.n_processes = 1;
	ttrpc_reply_message(call, &response);
}

static void fake_stats(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__StatsResponse response = CAISSON__AGENT__STATS_RESPONSE__INIT;

	(void)payload;
	(void)len;
	(void)arg;
	response.pids = 5;
	if (!strcmp(fake.special, "@big"))
		ttrpc_reply(call, (const uint8_t *)"\377\377\377", 3);
	else
		ttrpc_reply_message(call, &response);
}

/* "@oom": each signal 10 to the container is a kill; "@oom-flood": kills without end */
static void fake_wait_oom(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__WaitOomRequest *request = caisson__agent__wait_oom_request__unpack(
		NULL, len, payload);

	(void)arg;
	fake_oom = call;
	if (!strcmp(fake.special, "@oom-flood"))
		fake_answer_oom(request->seen + 1);
	caisson__agent__wait_oom_request__free_unpacked(request, NULL);
}

static void fake_ping(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)len;
	(void)arg;
	if (strcmp(fake.special, "@deaf") != 0)
		fake_reply_empty(call);
}

static void fake_shutdown(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)call;
	(void)payload;
	(void)len;
	(void)arg;
	if (fake_is("slow-sync"))
		(void)loop_timer_arm(fake.loop, &fake.sync_timer, 5000);
	else if (fake_is("no-pong"))
		for (;;)
			pause();
	else if (!fake_is("stubborn"))
		fake_end(VMM_END_POWER_OFF, "");
}

static void fake_on_synced(struct loop_timer *timer)
{
	(void)timer;
	fake_end(VMM_END_POWER_OFF, "");
}

#define FAKE_METHOD(name, function)     \
	{                               \
		name, 1 << 20, function \
	}
static const struct ttrpc_method fake_methods[] = {
	FAKE_METHOD("Hello", fake_hello),	  FAKE_METHOD("Create", fake_create),
	FAKE_METHOD("Start", fake_start),	  FAKE_METHOD("Exec", fake_exec),
	FAKE_METHOD("Wait", fake_wait),		  FAKE_METHOD("Signal", fake_signal),
	FAKE_METHOD("Resize", fake_resize),	  FAKE_METHOD("Delete", fake_delete),
	FAKE_METHOD("Freeze", fake_freeze),	  FAKE_METHOD("Thaw", fake_thaw),
	FAKE_METHOD("Processes", fake_processes), FAKE_METHOD("Stats", fake_stats),
	FAKE_METHOD("WaitOom", fake_wait_oom),	  FAKE_METHOD("Ping", fake_ping),
	FAKE_METHOD("Shutdown", fake_shutdown),	  {NULL, 0, NULL},
};
static const struct ttrpc_service fake_services[] = {
	{"caisson.agent.Agent", fake_methods, NULL},
	{NULL, NULL, NULL},
};

static void fake_on_child(struct loop_signals *signals, int signo, pid_t sender)
{
	pid_t pid;
	int status;

	(void)signals;
	(void)signo;
	(void)sender;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < FAKE_MAX; i++) {
			struct fake_proc *p = &fake.procs[i];

			if (!p->used || p->pid != pid)
				continue;
			p->ended = true;
			p->status = status;
			close_fd(&p->echo);
			fake_answer_wait(p);
			/* The end of a pid namespace's first process is the end of the others */
			for (int j = 0; !p->id[0] && j < FAKE_MAX; j++)
				if (fake.procs[j].used && !fake.procs[j].ended)
					kill(fake.procs[j].pid, SIGKILL);
		}
	}
}

static void fake_main(int control, int console)
{
	sigset_t mask;

	(void)unshare(CLONE_NEWNS);
	io_close_all_from(3, (int[]){control, console}, console >= 0 ? 2 : 1);
	log_set_fd(-1);
	fake.loop = loop_new(NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	fake.signals.on_signal = fake_on_child;
	fake.control = (struct loop_source){.fd = control, .on_event = fake_on_control};
	fake.sync_timer.on_expire = fake_on_synced;
	if (!fake.loop || loop_signals_init(fake.loop, &fake.signals, &mask, NULL) < 0 ||
	    loop_add(fake.loop, &fake.control, EPOLLIN, NULL) < 0)
		_exit(1);
	if (fake_is("boot-panic"))
		fake_end(VMM_END_PANIC, "VFS: cannot open root");
	if (fake_is("garbage"))
		(void)send(control, "garbage", 7, 0);
	if (console >= 0)
		dprintf(console, "Linux version 6.12\n\033[31mred\n");
	fake_say(VMM_MSG_STARTED, 0, "");
	if (!fake_is("silent"))
		fake_say(VMM_MSG_READY, 0, "");
	_exit(loop_run(fake.loop));
}

int __wrap_vmm_start(const struct vmm_config *config, struct vmm *out, struct err *err);
int __wrap_vmm_start(const struct vmm_config *config, struct vmm *out, struct err *err)
{
	int fds[2];

	fake.mode = config->cmdline_extra;
	if (fake_is("leak")) {
		char *volatile leak = malloc(100);

		leak = NULL;
		(void)leak;
	}
	if (fake_is("no-kvm"))
		return err_set(err, EIO, "/dev/kvm: access to it is refused");
	if (!config->nexports || config->exports[0].fd < 0 || config->exports[0].id)
		return err_set(err, EINVAL, "fake: no root export");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "fake");
	out->pid = fork();
	if (out->pid == 0)
		fake_main(fds[1], config->console_fd);
	close(fds[1]);
	out->control_fd = fds[0];
	(void)io_set_nonblock(fds[0], true);
	out->pidfd = (int)syscall(SYS_pidfd_open, out->pid, 0);
	return 0;
}

/* ================================ fixture ================================ */

struct fixture {
	char dir[64], bundle[96], rootfs[128];
	int bundle_fd, state_fd, null_fd;
	char json[4096];
	struct oci_config *config;
	struct monitor_args args;
	struct monitor monitor;
	int in[2], out[2]; /* pipes: stdin, stdout; stderr is stdout's */
	struct err err;
	bool running;
};

struct container {
	const char *args; /* JSON list */
	const char *fake;
	const char *mounts;
	uint32_t boot_timeout_s, heartbeat_s; /* 0: the default */
	const char *more;		      /* further members of "linux" */
	const char *hooks;
	int (*on_namespaces)(pid_t pid, void *arg, struct err *err); /* @arg is the fixture */
	bool terminal;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	*state = f;
	if (geteuid() != 0)
		return 0;
	strcpy(f->dir, "/tmp/caisson-monitor-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (const char *const *name =
		     (const char *const[]){"bundle", "state", "bundle/rootfs", "bundle/rootfs/proc",
					   "bundle/rootfs/data", "bundle/volume", NULL};
	     *name; name++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, *name);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	snprintf(path, sizeof(path), "%s/bundle", f->dir);
	f->bundle_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/state", f->dir);
	f->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(symlinkat("rootfs", f->bundle_fd, "link"), 0);
	assert_int_equal(close(openat(f->bundle_fd, "rootfs/marker", O_CREAT | O_WRONLY, 0644)), 0);
	assert_int_equal(close(openat(f->bundle_fd, "volume/inside", O_CREAT | O_WRONLY, 0644)), 0);
	assert_int_equal(pipe2(f->in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
	f->monitor.pidfd = -1;
	return 0;
}

static int wait_monitor(struct fixture *f)
{
	struct pollfd end = {.fd = f->monitor.pidfd, .events = POLLIN};
	int status = -1;

	assert_int_equal(poll(&end, 1, DEADLINE_MS), 1);
	assert_int_equal(waitpid(f->monitor.pid, &status, 0), f->monitor.pid);
	f->running = false;
	close_fd(&f->monitor.pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int count_state(const struct fixture *f)
{
	int n = 0;

	n += faccessat(f->state_fd, "control.sock", F_OK, 0) == 0;
	n += faccessat(f->state_fd, "cgroup", F_OK, 0) == 0;
	return n;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->dir[0]) {
		if (f->running) {
			kill(f->monitor.pid, SIGKILL);
			(void)wait_monitor(f);
		}
		assert_int_equal(monitor_cgroup_remove(f->state_fd, &f->err), 0);
		assert_int_equal(count_state(f), 0);
		oci_config_free(f->config);
		for (int i = 0; i < 2; i++) {
			close_fd(&f->in[i]);
			close_fd(&f->out[i]);
		}
		close_fd(&f->bundle_fd);
		close_fd(&f->state_fd);
		close_fd(&f->null_fd);
		assert_int_equal(path_remove_tree(AT_FDCWD, f->dir, &f->err), 0);
	}
	free(f);
	return 0;
}

static void skip_unless_root(void)
{
	if (geteuid() != 0)
		skip();
}

static int create(struct fixture *f, const struct container *c, int console_socket)
{
	int n = snprintf(
		f->json, sizeof(f->json),
		"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"},"
		"\"process\":{\"terminal\":%s,\"consoleSize\":{\"height\":11,\"width\":22},"
		"\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0},\"args\":%s},"
		"\"mounts\":[%s],"
		"\"vm\":{\"kernel\":{\"path\":\"/vmlinux\",\"parameters\":[\"fake=%s\"]}},"
		"\"linux\":{\"namespaces\":[{\"type\":\"network\"}]%s},\"hooks\":{%s}}",
		c->terminal ? "true" : "false", c->args, c->mounts ?: "", c->fake ?: "none",
		c->more ?: "", c->hooks ?: "");
	int r;

	r = oci_config_parse(f->json, (size_t)n, &f->config, &f->err);
	if (r < 0)
		fail_msg("config: %s", f->err.msg);
	f->args = (struct monitor_args){
		.id = "test",
		.config = f->config,
		.config_text = f->json,
		.config_len = (size_t)n,
		.bundle_fd = f->bundle_fd,
		.state_fd = f->state_fd,
		.exe_fd = dup(f->null_fd),
		.kvm_fd = dup(f->null_fd),
		.kernel_fd = dup(f->null_fd),
		.initramfs_fd = -1,
		.memory_bytes = 128 << 20,
		.nvcpus = 1,
		.boot_timeout_s = c->boot_timeout_s ?: MONITOR_BOOT_TIMEOUT_S,
		.heartbeat_s = c->heartbeat_s ?: MONITOR_HEARTBEAT_S,
		.stdio = {f->in[0], f->out[1], f->out[1]},
		.console_socket_fd = console_socket,
		.bundle = f->bundle,
		.rootfs = f->rootfs,
		.on_namespaces = c->on_namespaces,
		.arg = f,
	};
	snprintf(f->bundle, sizeof(f->bundle), "%s/bundle", f->dir);
	snprintf(f->rootfs, sizeof(f->rootfs), "%s/link", f->bundle);
	f->err = (struct err){0};
	r = monitor_spawn(&f->args, &f->monitor, &f->err);
	close(f->args.exe_fd);
	close(f->args.kvm_fd);
	close(f->args.kernel_fd);
	f->running = r == 0;
	/* As a command's exit would */
	close_fd(&f->in[0]);
	close_fd(&f->out[1]);
	return r;
}

static void create_ok(struct fixture *f, const char *args)
{
	if (create(f, &(struct container){.args = args}, -1) < 0)
		fail_msg("create: %s", f->err.msg);
}

static void start_ok(struct fixture *f)
{
	if (control_start(f->state_fd, false, &f->err) < 0)
		fail_msg("start: %s", f->err.msg);
}

/* Read until @want was seen, the end, or @size - 1 bytes */
static size_t read_until(int fd, char *out, size_t size, const char *want)
{
	size_t len = 0;

	out[0] = 0;
	while (len < size - 1 && !(want && strstr(out, want))) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		n = read(fd, out + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		out[len] = 0;
	}
	return len;
}

/* ================================ tests ================================ */

static void test_exit_code(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"exit 37\"]");
	start_ok(f);
	assert_int_equal(wait_monitor(f), 37);
}

static void test_exit_by_signal(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"kill -SEGV $$\"]");
	start_ok(f);
	assert_int_equal(wait_monitor(f), 139);
}

static void test_killed_before_start(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"true\"]");
	assert_int_equal(control_signal(f->state_fd, SIGKILL, false, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
	assert_int_equal(control_signal(f->state_fd, SIGKILL, false, &f->err), -ECONNREFUSED);
}

static void stop_and_wait(struct fixture *f)
{
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

/* `state` asks this file, which is there before the answer to START */
static void test_started_is_noted(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	assert_int_equal(faccessat(f->state_fd, CONTROL_STARTED_NAME, F_OK, 0), -1);
	start_ok(f);
	assert_int_equal(faccessat(f->state_fd, CONTROL_STARTED_NAME, F_OK, 0), 0);
	assert_int_equal(unlinkat(f->state_fd, CONTROL_STARTED_NAME, 0), 0);
	stop_and_wait(f);
}

static void test_start_twice(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(control_start(f->state_fd, false, &f->err), -EBUSY);
	assert_string_equal(f->err.msg, "the agent: it has been started");
	assert_int_equal(kill(f->monitor.pid, SIGTERM), 0);
	assert_int_equal(wait_monitor(f), 143);
}

static void feed(int fd, size_t len)
{
	char block[4096];

	for (size_t done = 0; done < len; done += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (char)((done + i) * 2654435761u >> 13);
		if (io_write_full(fd, block, sizeof(block)) < 0)
			_exit(1);
	}
	_exit(0);
}

static void test_bytes_both_ways(void **state)
{
	struct fixture *f = *state;
	const size_t total = 3 << 20;
	size_t len = 0;
	pid_t feeder;
	ssize_t n;
	char block[5000];

	skip_unless_root();
	create_ok(f, "[\"cat\"]");
	start_ok(f);
	feeder = fork();
	if (feeder == 0)
		feed(f->in[1], total);
	close_fd(&f->in[1]);
	while ((n = read(f->out[0], block, sizeof(block))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(block[i], (char)((len + (size_t)i) * 2654435761u >> 13));
		len += (size_t)n;
	}
	assert_int_equal(len, total);
	(void)waitpid(feeder, NULL, 0);
	assert_int_equal(wait_monitor(f), 0);
}

/* The process has long ended when its output is read */
static void test_late_reader(void **state)
{
	struct fixture *f = *state;
	struct pollfd end;
	char *text = malloc(400001);

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"head -c 400000 /dev/zero | tr '\\\\0' x; exit 3\"]");
	start_ok(f);
	end = (struct pollfd){.fd = f->monitor.pidfd, .events = POLLIN};
	assert_int_equal(poll(&end, 1, 300), 0);
	assert_int_equal(read_until(f->out[0], text, 400001, NULL), 400000);
	assert_int_equal(wait_monitor(f), 3);
	free(text);
}

/* A reader that is gone does not keep the monitor */
static void test_reader_gone(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"yes; exit 5\"]");
	close_fd(&f->out[0]);
	start_ok(f);
	assert_int_equal(wait_monitor(f), 5);
}

/* The container closes its output while it goes on: the engine sees the end of the pipe */
static void test_nothing_holds_the_pipes(void **state)
{
	struct fixture *f = *state;
	char text[64];

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"echo hi; exec >&- 2>&-; sleep 1000\"]");
	start_ok(f);
	assert_int_equal(read_until(f->out[0], text, sizeof(text), NULL), 3);
	assert_string_equal(text, "hi\n");
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

static void test_signals_are_passed_on(void **state)
{
	struct fixture *f = *state;
	char text[64];

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"trap 'echo usr1' USR1; trap 'exit 9' HUP; echo ready; while "
		     ":; do sleep 0.05; done\"]");
	start_ok(f);
	(void)read_until(f->out[0], text, sizeof(text), "ready\n");
	kill(f->monitor.pid, SIGUSR1);
	(void)read_until(f->out[0], text, sizeof(text), "usr1\n");
	assert_string_equal(text, "usr1\n");
	kill(f->monitor.pid, SIGHUP);
	assert_int_equal(wait_monitor(f), 9);
}

static void test_monitor_killed(void **state)
{
	struct fixture *f = *state;
	char text[64];

	skip_unless_root();
	create_ok(f, "[\"sh\",\"-c\",\"echo ready; sleep 1000\"]");
	start_ok(f);
	(void)read_until(f->out[0], text, sizeof(text), "ready\n");
	kill(f->monitor.pid, SIGKILL);
	/* The guest and its programs end with it, and so does the stream */
	assert_int_equal(read_until(f->out[0], text, sizeof(text), NULL), 0);
	assert_int_equal(wait_monitor(f), -SIGKILL);
	assert_int_equal(control_signal(f->state_fd, SIGTERM, false, &f->err), -ECONNREFUSED);
	assert_int_equal(unlinkat(f->state_fd, CONTROL_SOCKET_NAME, 0), 0);
}

/* ---- guests that die ---- */

static void dies(struct fixture *f, const char *args, uint32_t heartbeat_s, const char *want)
{
	char text[256];

	if (create(f, &(struct container){.args = args, .heartbeat_s = heartbeat_s}, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	(void)control_start(f->state_fd, false, &f->err);
	assert_int_equal(wait_monitor(f), 255);
	assert_true(monitor_failure(f->state_fd, text, sizeof(text)));
	assert_string_equal(text, want);
}

static void test_panic(void **state)
{
	skip_unless_root();
	dies(*state, "[\"@panic\"]", 0,
	     "the guest died: kernel panic: Fatal exception?forged \"line\"");
}

static void test_vmm_dies(void **state)
{
	skip_unless_root();
	dies(*state, "[\"@die\"]", 0, "the guest died: the vmm died");
}

static void test_agent_closes(void **state)
{
	skip_unless_root();
	dies(*state, "[\"@bye\"]", 0, "the guest died: the agent closed its connection");
}

static void test_hang(void **state)
{
	skip_unless_root();
	dies(*state, "[\"@hang\"]", 1,
	     "the guest died: it hangs: no sign of life for 3 seconds, its vmm used 0.0 s of CPU "
	     "time meanwhile");
}

static void test_hang_of_a_stopped_vmm(void **state)
{
	skip_unless_root();
	dies(*state, "[\"@stopped\"]", 1,
	     "the guest died: it hangs: no sign of life for 3 seconds, its vmm is stopped");
}

static void test_hang_of_a_busy_guest(void **state)
{
	struct fixture *f = *state;
	double seconds = 0;
	char text[256];

	skip_unless_root();
	if (create(f, &(struct container){.args = "[\"@spin\"]", .heartbeat_s = 1}, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	start_ok(f);
	assert_int_equal(wait_monitor(f), 255);
	assert_true(monitor_failure(f->state_fd, text, sizeof(text)));
	assert_int_equal(
		sscanf(text,
		       "the guest died: it hangs: no sign of life for 3 seconds, its vmm used %lf",
		       &seconds),
		1);
	assert_true(seconds > 0);
}

/* ---- create that fails ---- */

static void create_fails(struct fixture *f, const struct container *c, int code, const char *want)
{
	int r = create(f, c, -1);

	assert_int_equal(r, code);
	assert_string_equal(f->err.msg, want);
	assert_int_equal(count_state(f), 0);
	assert_int_equal(faccessat(f->state_fd, "failure", F_OK, 0), -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_program_missing(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"@missing\"]"}, -ENOENT,
		     "exec: \"missing\": executable file not found in $PATH");
}

static void test_agent_refuses(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"@refuse\"]"}, -EIO,
		     "the agent: mounting tmpfs: ?it went wrong");
}

static void test_panic_in_create(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"@panic-in-create\"]"}, -EIO,
		     "creating the container: the guest ended: kernel panic: in create");
}

static void test_boot_panic(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"true\"]", .fake = "boot-panic"}, -EIO,
		     "starting the guest: the guest ended: kernel panic: VFS: cannot open root");
}

static void test_no_kvm(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"true\"]", .fake = "no-kvm"}, -EIO,
		     "/dev/kvm: access to it is refused");
}

static void test_agent_never_answers(void **state)
{
	skip_unless_root();
	create_fails(
		*state,
		&(struct container){.args = "[\"true\"]", .fake = "silent", .boot_timeout_s = 1},
		-ETIMEDOUT, "starting the guest: the agent did not answer within 1 seconds");
}

static void test_vmm_talks_garbage(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"true\"]", .fake = "garbage"}, -EIO,
		     "starting the guest: the guest ended: the vmm broke its protocol");
}

static void test_other_version(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"true\"]", .fake = "version"}, -EPROTO,
		     "the agent speaks version 77, not 1: kernel, initramfs and program do not "
		     "belong together");
}

static void test_no_console_socket(void **state)
{
	skip_unless_root();
	create_fails(*state, &(struct container){.args = "[\"true\"]", .terminal = true}, -EINVAL,
		     "a terminal is asked for, but there is no console socket");
}

static void test_bind_missing(void **state)
{
	struct container c = {
		.args = "[\"true\"]",
		.mounts = "{\"destination\":\"/"
			  "data\",\"type\":\"bind\",\"source\":\"nowhere\",\"options\":[\"bind\"]}",
	};
	struct fixture *f = *state;
	int r;

	skip_unless_root();
	r = create(f, &c, -1);
	assert_int_equal(r, -EINVAL);
	assert_non_null(strstr(f->err.msg, "config.json: mounts[0].source 'nowhere': "));
	assert_null(strcasestr(f->err.msg, "no such file"));
	assert_int_equal(count_state(f), 0);
}

/* Nothing is waited for in the place of a namespace */
static void test_network_is_none(void **state)
{
	struct fixture *f = *state;
	char fifo[128], more[256];

	skip_unless_root();
	snprintf(fifo, sizeof(fifo), "%s/bundle/fifo", f->dir);
	snprintf(more, sizeof(more), ",\"namespaces\":[{\"type\":\"network\",\"path\":\"%s\"}]",
		 fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(create(f, &(struct container){.args = "[\"true\"]", .more = more}, -1),
			 -EINVAL);
	assert_non_null(strstr(f->err.msg, "joining the network namespace '"));
	assert_int_equal(count_state(f), 0);
}

/* Whoever creates dies while the guest boots: nothing stays */
static void test_abandoned(void **state)
{
	struct fixture *f = *state;
	int alive[2];
	char c;
	pid_t pid;

	skip_unless_root();
	assert_int_equal(pipe(alive), 0);
	pid = fork();
	if (pid == 0) {
		/* The monitor inherits the write end until it closes what it was not told to keep */
		close(alive[0]);
		f->out[1] = alive[1];
		(void)create(f, &(struct container){.args = "[\"true\"]", .fake = "silent"}, -1);
		_exit(0);
	}
	close(alive[1]);
	close_fd(&f->out[1]);
	close_fd(&f->in[0]);
	while (faccessat(f->state_fd, CONTROL_SOCKET_NAME, F_OK, 0) < 0)
		usleep(1000);
	kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	assert_int_equal(read(alive[0], &c, 1), 0);
	close(alive[0]);
	while (faccessat(f->state_fd, CONTROL_SOCKET_NAME, F_OK, 0) == 0)
		usleep(1000);
}

/* A SIGCONT that is found together with the command's death takes nothing back */
static void test_abandoned_then_continued(void **state)
{
	struct fixture *f = *state;
	struct pollfd end = {.events = POLLIN};
	char path[64], text[64];
	pid_t pid, monitor;
	int fd;

	skip_unless_root();
	pid = fork();
	if (pid == 0)
		_exit(-create(f, &(struct container){.args = "[\"true\"]", .fake = "silent"}, -1));
	while (faccessat(f->state_fd, CONTROL_SOCKET_NAME, F_OK, 0) < 0)
		usleep(1000);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)read_until(fd, text, sizeof(text), NULL);
	close(fd);
	monitor = (pid_t)atoi(text);
	assert_true(monitor > 0);
	end.fd = (int)syscall(SYS_pidfd_open, monitor, 0);
	assert_true(end.fd >= 0);
	usleep(200000); /* it waits for the guest now, or the test shows less */
	assert_int_equal(kill(monitor, SIGSTOP), 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", monitor);
	do {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		(void)read_until(fd, text, sizeof(text), NULL);
		close(fd);
	} while (!strstr(text, ") T "));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(kill(monitor, SIGCONT), 0);
	assert_int_equal(poll(&end, 1, DEADLINE_MS / 4), 1);
	close(end.fd);
}

/* ---- namespaces ---- */

static void test_view(void **state)
{
	struct container c = {
		.args = "[\"sleep\",\"1000\"]",
		.mounts = "{\"destination\":\"/"
			  "data\",\"type\":\"bind\",\"source\":\"volume\",\"options\":[\"bind\","
			  "\"ro\"]},"
			  "{\"destination\":\"/"
			  "nowhere\",\"type\":\"bind\",\"source\":\"volume\",\"options\":["
			  "\"rbind\"]}",
	};
	struct fixture *f = *state;
	char path[128], own[128], theirs[128];
	ssize_t n;

	skip_unless_root();
	if (create(f, &c, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	snprintf(path, sizeof(path), "/proc/%d/root/marker", f->monitor.pid);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "/proc/%d/root/data/inside", f->monitor.pid);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "/proc/%d/root/data/new", f->monitor.pid);
	assert_int_equal(open(path, O_CREAT | O_WRONLY, 0644), -1);
	assert_int_equal(errno, EROFS);
	snprintf(path, sizeof(path), "/proc/%d/root/nowhere", f->monitor.pid);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "/proc/%d/root/proc/1/comm", f->monitor.pid);
	assert_int_equal(access(path, F_OK), 0);
	for (const char *const *ns = (const char *const[]){"net", "pid", "mnt", NULL}; *ns; ns++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", f->monitor.pid, *ns);
		n = readlink(path, theirs, sizeof(theirs) - 1);
		assert_true(n > 0);
		theirs[n] = 0;
		snprintf(path, sizeof(path), "/proc/self/ns/%s", *ns);
		n = readlink(path, own, sizeof(own) - 1);
		own[n] = 0;
		assert_string_not_equal(own, theirs);
	}
	/* The host's own tree has nothing of it */
	assert_int_equal(faccessat(f->bundle_fd, "rootfs/data/inside", F_OK, 0), -1);
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

/* What the command has open is not the monitor's; what the command does later happens where it was */
static void test_keeps_nothing(void **state)
{
	struct fixture *f = *state;
	char own[64] = "", children[64] = "", c;
	int fds[2];

	skip_unless_root();
	assert_int_equal(pipe(fds), 0);
	create_ok(f, "[\"sleep\",\"1000\"]");
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
	assert_true(readlink("/proc/self/ns/pid", own, sizeof(own) - 1) > 0);
	assert_true(readlink("/proc/self/ns/pid_for_children", children, sizeof(children) - 1) > 0);
	assert_string_equal(own, children);
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

/* ---- hooks ---- */

#define HOOK_SH(script_) "{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"" script_ "\"]}"
#define HOOK_TRUE "{\"path\":\"/bin/true\"}"

/* A line of a file of the rootfs's */
static void rootfs_line(const struct fixture *f, const char *name, char *out, size_t size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->rootfs, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s is missing", path);
	(void)read_until(fd, out, size, "\n");
	close(fd);
	out[strcspn(out, "\n")] = 0;
}

static void ns_of(pid_t pid, const char *ns, char *out, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, ns);
	n = readlink(path, out, size - 1);
	assert_true(n > 0);
	out[n] = 0;
}

/* Runs in the place of the command's hooks: the namespaces are there, no guest is, and no createContainer hook has been run */
static int look_at_namespaces(pid_t pid, void *arg, struct err *err)
{
	const struct fixture *f = arg;
	char own[64], theirs[64];

	(void)err;
	for (const char *const *ns = (const char *const[]){"net", "pid_for_children", "mnt", NULL};
	     *ns; ns++) {
		ns_of(pid, *ns, theirs, sizeof(theirs));
		ns_of(getpid(), *ns, own, sizeof(own));
		assert_string_not_equal(own, theirs);
	}
	assert_int_equal(faccessat(f->state_fd, "control.sock", F_OK, 0), -1);
	assert_int_equal(faccessat(f->bundle_fd, "rootfs/net", F_OK, 0), -1);
	assert_int_equal(close(openat(f->bundle_fd, "rootfs/called", O_CREAT | O_WRONLY, 0644)), 0);
	return 0;
}

/* createContainer: in the monitor's namespaces, the host's files in sight, the container's where its rootfs is */
static void test_hooks(void **state)
{
	struct container c = {
		.args = "[\"sleep\",\"1000\"]",
		.mounts = "{\"destination\":\"/"
			  "data\",\"type\":\"bind\",\"source\":\"volume\",\"options\":[\"bind\"]}",
		.hooks = "\"prestart\":[" HOOK_TRUE "],\"createContainer\":[" HOOK_SH(
			"[ -e called ] && readlink /proc/self/ns/net > net && readlink "
			"/proc/self/ns/mnt > mnt && cat > state && pwd > pwd && umask > umask && "
			"cat /proc/1/comm > first && ls data/inside > inside && touch "
			"data/by-hook && readlink proc/self > proc.self && [ -e /etc/passwd ]") "]",
		.on_namespaces = look_at_namespaces,
	};
	struct fixture *f = *state;
	char text[512], want[512];

	skip_unless_root();
	if (create(f, &c, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	for (const char *const *ns = (const char *const[]){"net", "mnt", NULL}; *ns; ns++) {
		ns_of(f->monitor.pid, *ns, want, sizeof(want));
		rootfs_line(f, *ns, text, sizeof(text));
		assert_string_equal(text, want);
	}
	rootfs_line(f, "pwd", text, sizeof(text));
	snprintf(want, sizeof(want), "%s/rootfs", f->bundle);
	assert_string_equal(text, want);
	rootfs_line(f, "umask", text, sizeof(text));
	assert_string_equal(text, "0022");
	rootfs_line(f, "first", text, sizeof(text));
	assert_string_equal(text, "caisson-monitor");
	rootfs_line(f, "inside", text, sizeof(text));
	assert_string_equal(text, "data/inside");
	assert_int_equal(faccessat(f->bundle_fd, "volume/by-hook", F_OK, 0), 0);
	rootfs_line(f, "state", text, sizeof(text));
	snprintf(want, sizeof(want),
		 "{\"ociVersion\":\"1.0.2\",\"id\":\"test\",\"status\":\"creating\",\"pid\":1,"
		 "\"bundle\":\"%s\"}",
		 f->bundle);
	assert_string_equal(text, want);
	/* And the monitor's view came to be as without */
	snprintf(text, sizeof(text), "/proc/%d/root/data/by-hook", f->monitor.pid);
	assert_int_equal(access(text, F_OK), 0);
	snprintf(text, sizeof(text), "/proc/%d/root/proc/1/comm", f->monitor.pid);
	assert_int_equal(access(text, F_OK), 0);
	assert_int_equal(faccessat(f->bundle_fd, "rootfs/data/inside", F_OK, 0), -1);
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

static int never(pid_t pid, void *arg, struct err *err)
{
	(void)pid;
	(void)arg;
	return err_set(err, EINVAL, "called without a hook of the command's");
}

static void test_hooks_of_others(void **state)
{
	struct container c = {.args = "[\"sleep\",\"1000\"]",
			      .hooks = "\"poststart\":[" HOOK_TRUE "],\"prestart\":[]",
			      .on_namespaces = never};
	struct fixture *f = *state;

	skip_unless_root();
	if (create(f, &c, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

static int refuse(pid_t pid, void *arg, struct err *err)
{
	(void)pid;
	(void)arg;
	return err_set(err, EIO, "error running createRuntime hook #1: exit status 1");
}

static void test_hook_fails(void **state)
{
	skip_unless_root();
	create_fails(*state,
		     &(struct container){.args = "[\"true\"]",
					 .hooks = "\"createRuntime\":[" HOOK_TRUE "]",
					 .on_namespaces = refuse},
		     -EIO, "error running createRuntime hook #1: exit status 1");
}

static void test_container_hook_fails(void **state)
{
	skip_unless_root();
	create_fails(
		*state,
		&(struct container){.args = "[\"true\"]",
				    .hooks = "\"createContainer\":[" HOOK_TRUE "," HOOK_SH(
					    "echo why >&2; exit 4") "," HOOK_SH("touch never") "]"},
		-EIO,
		"error running createContainer hook #1: exit status 4, stdout: , stderr: why");
}

static int kill_it(pid_t pid, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	return kill(pid, SIGKILL);
}

static void test_monitor_killed_during_hooks(void **state)
{
	skip_unless_root();
	create_fails(*state,
		     &(struct container){.args = "[\"true\"]",
					 .hooks = "\"prestart\":[" HOOK_TRUE "]",
					 .on_namespaces = kill_it},
		     -EIO, "the monitor died before the container was created");
}

/* A signal to the container's pid while its hook runs: the hook is killed, all is undone */
static void test_container_hook_is_given_up(void **state)
{
	skip_unless_root();
	create_fails(*state,
		     &(struct container){.args = "[\"true\"]",
					 .hooks = "\"createContainer\":[" HOOK_SH(
						 "kill 1; exec sleep 1000") "]"},
		     -ECANCELED, "error running createContainer hook #0: the hook was given up");
}

/* A reader that does nothing stops the writer, and the guest's death ends even that */
static void test_guest_dies_with_a_stopped_reader(void **state)
{
	struct fixture *f = *state;
	char path[64], text[256];
	struct pollfd p = {.events = POLLIN};
	pid_t vmm = 0;
	int fd;

	skip_unless_root();
	create_ok(f, "[\"yes\"]");
	start_ok(f);
	p.fd = f->out[0];
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", f->monitor.pid, f->monitor.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)read_until(fd, text, sizeof(text), NULL);
	close(fd);
	vmm = (pid_t)atoi(text);
	assert_true(vmm > 0);
	assert_int_equal(kill(vmm, SIGKILL), 0);
	while (!monitor_failure(f->state_fd, text, sizeof(text)))
		usleep(1000);
	assert_string_equal(text, "the guest died: the vmm died");
	/* The bytes that had arrived are still to be had; nobody wants them */
	close_fd(&f->out[0]);
	assert_int_equal(wait_monitor(f), 255);
}

static void test_cgroup(void **state)
{
	struct fixture *f = *state;
	char path[128], dir[256], text[4096];
	int fd;
	char *line, *end;

	skip_unless_root();
	if (create(f,
		   &(struct container){.args = "[\"sleep\",\"1000\"]",
				       .more = ",\"cgroupsPath\":\"/caisson-unit-test/a/../b/c1\""},
		   -1) < 0)
		fail_msg("create: %s", f->err.msg);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", f->monitor.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	(void)read_until(fd, text, sizeof(text), NULL);
	close(fd);
	line = strstr(text, "0::");
	if (!line || faccessat(f->state_fd, "cgroup", F_OK, 0) < 0) {
		print_message("no cgroup2 hierarchy to write to\n");
		assert_int_equal(control_stop(f->state_fd, &f->err), 0);
		(void)wait_monitor(f);
		skip();
	}
	end = strchr(line, '\n');
	*end = 0;
	assert_string_equal(line, "0::/caisson-unit-test/b/c1");
	assert_int_equal(control_stop(f->state_fd, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
	if (monitor_cgroup_remove(f->state_fd, &f->err) < 0)
		fail_msg("%s", f->err.msg);
	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/caisson-unit-test");
	assert_int_equal(access(dir, F_OK), -1);
	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/unified/caisson-unit-test");
	assert_int_equal(access(dir, F_OK), -1);
}

/* ---- terminal ---- */

static int receive_master(int sock)
{
	char name[64];
	int fd = -1;
	size_t nfds = 0;
	ssize_t n = io_recv_fds(sock, name, sizeof(name), &fd, 1, &nfds);

	assert_true(n >= 1);
	assert_int_equal(nfds, 1);
	return fd;
}

static void test_terminal(void **state)
{
	struct fixture *f = *state;
	struct winsize size = {.ws_row = 33, .ws_col = 44}, first;
	char text[256];
	int socks[2], master;

	skip_unless_root();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	if (create(f, &(struct container){.args = "[\"cat\"]", .terminal = true}, socks[1]) < 0)
		fail_msg("create: %s", f->err.msg);
	close(socks[1]);
	master = receive_master(socks[0]);
	/* Closed by the monitor too: nothing is awaited */
	assert_int_equal(read(socks[0], text, 1), 0);
	close(socks[0]);
	assert_int_equal(ioctl(master, TIOCGWINSZ, &first), 0);
	assert_int_equal(first.ws_row, 11);
	assert_int_equal(first.ws_col, 22);
	start_ok(f);
	assert_int_equal(write(master, "hello\n", 6), 6);
	/* Raw: as it is, once */
	(void)read_until(master, text, 7, NULL);
	assert_string_equal(text, "hello\n");
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	(void)read_until(master, text, sizeof(text), "\n");
	assert_string_equal(text, "size 33x44\n");
	close(master);
	/* The stream was closed, cat saw its end; the hang-up may have come as a signal first */
	assert_int_not_equal(wait_monitor(f), 255);
}

static void test_terminal_end(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int socks[2], master;

	skip_unless_root();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	if (create(f,
		   &(struct container){.args = "[\"sh\",\"-c\",\"echo last words; exit 4\"]",
				       .terminal = true},
		   socks[1]) < 0)
		fail_msg("create: %s", f->err.msg);
	close(socks[1]);
	master = receive_master(socks[0]);
	close(socks[0]);
	start_ok(f);
	(void)read_until(master, text, sizeof(text), NULL);
	assert_string_equal(text, "last words\n");
	close(master);
	assert_int_equal(wait_monitor(f), 4);
}

/* ---- exec ---- */

static struct oci_process *process_of(const char *args, bool terminal)
{
	struct oci_process *process = NULL;
	struct err err = {0};
	char json[1024];
	int n = snprintf(
		json, sizeof(json),
		"{\"terminal\":%s,\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0},\"args\":%s}",
		terminal ? "true" : "false", args);

	if (oci_process_parse(json, (size_t)n, &process, &err) < 0)
		fail_msg("process: %s", err.msg);
	return process;
}

static int exec_of(struct fixture *f, const char *args, bool terminal, const char *id,
		   struct control_exec *out)
{
	struct oci_process *process = process_of(args, terminal);
	int r = control_exec(f->state_fd,
			     &(struct control_exec_args){.process = process, .exec_id = id}, out,
			     &f->err);

	oci_process_free(process);
	return r;
}

static void test_exec(void **state)
{
	struct fixture *f = *state;
	struct control_exec exec;
	char text[64];
	int in[2], out[2], status;
	pid_t pid;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	if (exec_of(f, "[\"sh\",\"-c\",\"cat; exit 21\"]", false, NULL, &exec) < 0)
		fail_msg("exec: %s", f->err.msg);
	assert_true(exec.guest_pid > 0);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		close(in[1]);
		close(out[0]);
		_exit(stdio_serve(&exec, (int[]){in[0], out[1], out[1]}, false, NULL));
	}
	control_exec_release(&exec);
	close(in[0]);
	close(out[1]);
	assert_int_equal(write(in[1], "through\n", 8), 8);
	close(in[1]);
	(void)read_until(out[0], text, sizeof(text), NULL);
	assert_string_equal(text, "through\n");
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 21);
	stop_and_wait(f);
}

/* A stand-in without a monitor: its status comes first, with @expected bytes to follow, and @text after @delay_ms; the stream stays open */
static void standin_after(uint64_t expected, int delay_ms, const char *text, char *out, size_t size)
{
	struct control_reply reply = {.magic = CONTROL_MAGIC,
				      .version = CONTROL_VERSION,
				      .type = CONTROL_REPLY_EXIT,
				      .code = 9,
				      .output_bytes = {expected}};
	struct control_exec exec = {.streams = {-1, -1, -1}};
	int control[2], streams[3][2], output[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(pipe2(output, O_CLOEXEC), 0);
	exec.control_fd = control[1];
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams[i]), 0);
		exec.streams[i] = streams[i][1];
	}
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		close(output[0]);
		_exit(stdio_serve(&exec, (int[]){null, output[1], null}, false, NULL));
	}
	control_exec_release(&exec);
	close(output[1]);
	assert_int_equal(io_send_fds(control[0], &reply, sizeof(reply), NULL, 0), 0);
	(void)poll(NULL, 0, delay_ms);
	(void)send(streams[1][0], text, strlen(text), MSG_NOSIGNAL);
	(void)read_until(output[0], out, size, NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	close(output[0]);
	close(control[0]);
	for (int i = 0; i < 3; i++)
		close(streams[i][0]);
}

static void test_exec_tail(void **state)
{
	char text[64];

	(void)state;
	/* Longer than silence would be believed: these bytes are owed */
	standin_after(5, 3000, "tail\n", text, sizeof(text));
	assert_string_equal(text, "tail\n");
	/* A grandchild holds the stream: what it writes much later belongs to nobody */
	standin_after(0, 3000, "late\n", text, sizeof(text));
	assert_string_equal(text, "");
}

static void test_exec_not_found(void **state)
{
	struct fixture *f = *state;
	struct control_exec exec;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(exec_of(f, "[\"@nothing\"]", false, NULL, &exec), -ENOENT);
	assert_string_equal(f->err.msg, "exec: \"@nothing\": executable file not found in $PATH");
	stop_and_wait(f);
}

/* The connection is the process's life */
static void test_exec_abandoned(void **state)
{
	struct fixture *f = *state;
	struct control_exec exec;
	char text[64];

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(
		exec_of(f, "[\"sh\",\"-c\",\"echo up; exec sleep 1000\"]", false, "one", &exec), 0);
	(void)read_until(exec.streams[1], text, sizeof(text), "up\n");
	/* Its id is taken */
	assert_int_equal(exec_of(f, "[\"true\"]", false, "one", &(struct control_exec){0}),
			 -EEXIST);
	close_fd(&exec.control_fd);
	assert_int_equal(read_until(exec.streams[1], text, sizeof(text), NULL), 0);
	control_exec_release(&exec);
	stop_and_wait(f);
}

static void test_exec_signal_and_guest_end(void **state)
{
	uint64_t output_bytes[2];
	struct fixture *f = *state;
	struct control_exec exec, other;
	struct pollfd p;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(exec_of(f, "[\"sleep\",\"1000\"]", false, NULL, &exec), 0);
	assert_int_equal(exec_of(f, "[\"sleep\",\"1000\"]", false, NULL, &other), 0);
	assert_int_equal(control_exec_signal(&exec, SIGTERM), 0);
	p = (struct pollfd){.fd = exec.control_fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	assert_int_equal(control_exec_status(&exec, output_bytes), 143);
	control_exec_release(&exec);
	/* The container ends: the other exec is killed with it and told so */
	assert_int_equal(control_signal(f->state_fd, SIGKILL, true, &f->err), 0);
	assert_int_equal(control_exec_status(&other, output_bytes), 137);
	control_exec_release(&other);
	assert_int_equal(wait_monitor(f), 137);
}

static void test_exec_terminal(void **state)
{
	struct fixture *f = *state;
	struct control_exec exec;
	struct winsize size = {.ws_row = 5, .ws_col = 6};
	char text[64];
	int socks[2], master, status;
	pid_t pid;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(exec_of(f, "[\"cat\"]", true, NULL, &exec), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	pid = fork();
	if (pid == 0) {
		int theirs = -1, slave = -1;

		setsid();
		if (console_open(7, 8, &theirs, &slave, NULL) < 0 ||
		    console_send(socks[1], theirs, NULL) < 0)
			_exit(99);
		close(theirs);
		close(socks[0]);
		close(socks[1]);
		_exit(stdio_serve(&exec, (int[]){slave, -1, -1}, true, NULL));
	}
	control_exec_release(&exec);
	close(socks[1]);
	master = receive_master(socks[0]);
	close(socks[0]);
	(void)read_until(master, text, sizeof(text), "\n");
	assert_string_equal(text, "size 7x8\n");
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	(void)read_until(master, text, sizeof(text), "\n");
	assert_string_equal(text, "size 5x6\n");
	close(master);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* End of input or hang-up, whichever came first */
	assert_true(WIFEXITED(status) &&
		    (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 128 + SIGHUP));
	stop_and_wait(f);
}

/* ---- control socket ---- */

static int raw_connect(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control.sock",
		 f->state_fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void refused(struct fixture *f, const void *bytes, size_t len, int code)
{
	struct control_reply reply = {0};
	int fd = raw_connect(f);
	char c;

	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
	assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.code, code);
	assert_true(reply.text[0]);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
}

static void test_control_refusals(void **state)
{
	struct fixture *f = *state;
	struct control_request request;
	char big[8192] = {0};
	int idle[64];
	struct stat st;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	assert_int_equal(fstatat(f->state_fd, CONTROL_SOCKET_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Connections that say nothing block nobody */
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = raw_connect(f);
	refused(f, big, sizeof(big), -EPROTO);
	refused(f, "x", 1, -EPROTO);
	control_request_init(&request, CONTROL_PING);
	request.version = CONTROL_VERSION + 1;
	refused(f, &request, sizeof(request), -EPROTONOSUPPORT);
	control_request_init(&request, 99);
	refused(f, &request, sizeof(request), -ENOSYS);
	control_request_init(&request, CONTROL_RESIZE);
	refused(f, &request, sizeof(request), -EPROTO);
	control_request_init(&request, CONTROL_SIGNAL);
	refused(f, &request, sizeof(request), -EINVAL);
	control_request_init(&request, CONTROL_EXEC);
	request.payload_len = 10;
	refused(f, &request, sizeof(request), -EINVAL);
	request.args[0] = 1;
	refused(f, &request, sizeof(request), -EINVAL); /* no document beside it */
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	stop_and_wait(f);
}

/* Who comes when there is no room learns just that, and not that the container has ended */
static void test_control_is_full(void **state)
{
	struct fixture *f = *state;
	int idle[192], r;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = raw_connect(f);
	for (int i = 0; i < 100; i++) {
		r = control_signal(f->state_fd, SIGUSR1, false, &f->err);
		assert_int_equal(r, -ENOBUFS);
		assert_string_equal(f->err.msg, "more than 192 requests at once");
	}
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	/* The monitor may see the next one before these ends */
	do
		r = control_stop(f->state_fd, &f->err);
	while (r == -ENOBUFS);
	assert_int_equal(r, 0);
	assert_int_equal(wait_monitor(f), 137);
}

/* Who asks again and again does not push the end of his patience away */
static void test_stop_of_a_hanging_guest(void **state)
{
	struct fixture *f = *state;
	struct pollfd end;
	int n = 0;

	skip_unless_root();
	if (create(f, &(struct container){.args = "[\"@hang\"]", .heartbeat_s = 60}, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	start_ok(f);
	end = (struct pollfd){.fd = f->monitor.pidfd, .events = POLLIN};
	while (poll(&end, 1, 500) == 0) {
		assert_true(++n < 24);
		(void)control_stop(f->state_fd, &f->err);
	}
	assert_int_equal(wait_monitor(f), 137);
}

/* A monitor that does nothing is not waited for like one whose guest is slow: `delete --force` kills it */
static void test_stop_of_a_stopped_monitor(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	assert_int_equal(kill(f->monitor.pid, SIGSTOP), 0);
	before = io_now_ms();
	assert_int_equal(control_stop(f->state_fd, &f->err), -ETIMEDOUT);
	assert_true(io_now_ms() - before < DEADLINE_MS);
	kill(f->monitor.pid, SIGKILL);
	assert_int_equal(wait_monitor(f), -SIGKILL);
	assert_int_equal(unlinkat(f->state_fd, CONTROL_SOCKET_NAME, 0), 0);
}

/* The same for a signal: `kill ID KILL` kills a monitor that does not answer, and must not wait long for it */
static void test_signal_to_a_stopped_monitor(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	assert_int_equal(kill(f->monitor.pid, SIGSTOP), 0);
	before = io_now_ms();
	assert_int_equal(control_signal(f->state_fd, SIGKILL, false, &f->err), -ETIMEDOUT);
	assert_true(io_now_ms() - before < 30000);
	kill(f->monitor.pid, SIGKILL);
	assert_int_equal(wait_monitor(f), -SIGKILL);
	assert_int_equal(unlinkat(f->state_fd, CONTROL_SOCKET_NAME, 0), 0);
}

/* Without room for one more question a guest that answers none is neither taken for one whose container has ended nor for alive */
static void test_deaf_guest(void **state)
{
	struct fixture *f = *state;
	struct control_exec exec;
	int32_t *pids = NULL;
	char text[256];
	int r;

	skip_unless_root();
	if (create(f,
		   &(struct container){.args = "[\"@deaf\",\"sleep\",\"1000\"]", .heartbeat_s = 2},
		   -1) < 0)
		fail_msg("create: %s", f->err.msg);
	start_ok(f);
	assert_int_equal(exec_of(f, "[\"sleep\",\"1000\"]", false, NULL, &exec), 0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(control_exec_resize(&exec, 10, 10), 0);
		/* What the monitor answers by itself: it keeps up with us */
		assert_int_equal(control_pids(f->state_fd, &pids, &f->err), 1);
		free(pids);
	}
	r = control_signal(f->state_fd, SIGKILL, false, &f->err);
	assert_int_equal(r, -ENOBUFS);
	assert_string_equal(f->err.msg, "too many requests are waiting for the guest");
	assert_int_equal(wait_monitor(f), 255);
	assert_true(monitor_failure(f->state_fd, text, sizeof(text)));
	assert_non_null(strstr(text, "it hangs: no sign of life for 6 seconds"));
	control_exec_release(&exec);
}

/* Requests of every kind, given up at any moment: in a process of its own until it is killed or the monitor ends */
static void storm(const struct fixture *f, unsigned int seed)
{
	static const uint32_t types[] = {CONTROL_PAUSE,	 CONTROL_RESUME, CONTROL_STATS,
					 CONTROL_EVENTS, CONTROL_UPDATE, CONTROL_SIGNAL,
					 CONTROL_EXEC,	 CONTROL_EXEC,	 CONTROL_PROCESSES,
					 CONTROL_PIDS,	 CONTROL_START,	 CONTROL_PING};
	static const char document[] =
		"{\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sleep\",\"1000\"]}";
	struct timeval patience = {.tv_usec = 20000};
	int memfd = memfd_create("document", MFD_CLOEXEC);

	(void)io_write_full(memfd, document, strlen(document));
	for (;;) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fds[4];
		struct control_request request;
		struct control_reply reply;
		size_t nfds = 0;
		bool has_document;

		snprintf(address.sun_path, sizeof(address.sun_path),
			 "/proc/self/fd/%d/control.sock", f->state_fd);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			_exit(0);
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		control_request_init(&request, types[rand_r(&seed) % ARRAY_SIZE(types)]);
		has_document = request.type == CONTROL_EXEC || request.type == CONTROL_UPDATE;
		request.payload_len = has_document ? sizeof(document) - 1 : 0;
		request.args[0] = request.type == CONTROL_SIGNAL ? SIGCONT : has_document;
		(void)io_send_fds(fd, &request, sizeof(request), &memfd, has_document);
		if (rand_r(&seed) % 3 &&
		    io_recv_fds(fd, &reply, sizeof(reply), fds, ARRAY_SIZE(fds), &nfds) > 0) {
			for (size_t i = 0; i < nfds; i++)
				close(fds[i]);
			control_request_init(&request, CONTROL_RESIZE);
			(void)io_send_fds(fd, &request, sizeof(request), NULL, 0);
		}
		close(fd);
	}
}

static pid_t vmm_of(const struct fixture *f)
{
	cleanup_free char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", f->monitor.pid, f->monitor.pid);
	assert_true(io_read_file(AT_FDCWD, path, 256, &text, NULL) > 0);
	return (pid_t)strtol(text, NULL, 10);
}

static void test_storm(void **state)
{
	struct fixture *f = *state;
	pid_t children[4];

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0)
			storm(f, (unsigned int)i + 1);
	}
	(void)poll(NULL, 0, 1500);
	kill(vmm_of(f), SIGKILL);
	/* And not that of a sanitizer */
	assert_int_equal(wait_monitor(f), 255);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		kill(children[i], SIGKILL);
		assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
	}
}

/* The monitor leaves by exit(), so that a leak in it is found: in a sanitizer build it is no success */
static bool is_marked(const struct fixture *f)
{
	return faccessat(f->state_fd, "paused", F_OK, 0) == 0;
}

static void test_pause(void **state)
{
	struct control_processes processes;
	struct fixture *f = *state;
	struct control_exec exec;
	char text[64];

	skip_unless_root();
	create_ok(f, "[\"cat\"]");
	assert_int_equal(control_pause(f->state_fd, &f->err), 0);
	assert_true(is_marked(f));
	assert_int_equal(control_resume(f->state_fd, &f->err), 0);
	assert_false(is_marked(f));
	start_ok(f);
	assert_int_equal(control_pause(f->state_fd, &f->err), 0);
	assert_int_equal(control_pause(f->state_fd, &f->err), 0);
	assert_true(is_marked(f));
	assert_int_equal(exec_of(f, "[\"true\"]", false, NULL, &exec), -EBUSY);
	assert_string_equal(f->err.msg,
			    "cannot exec in a paused container (use --ignore-paused to override)");
	assert_int_equal(control_processes(f->state_fd, &processes, &f->err), 0);
	assert_int_equal(processes.items[0].state, 'D');
	control_processes_release(&processes);
	assert_int_equal(control_resume(f->state_fd, &f->err), 0);
	assert_false(is_marked(f));
	assert_int_equal(write(f->in[1], "on", 2), 2);
	(void)read_until(f->out[0], text, 3, NULL);
	assert_string_equal(text, "on");
	/* What is killed is not paused, whatever it was before */
	assert_int_equal(control_pause(f->state_fd, &f->err), 0);
	assert_int_equal(control_signal(f->state_fd, SIGTERM, false, &f->err), 0);
	assert_true(is_marked(f));
	assert_int_equal(control_signal(f->state_fd, SIGKILL, false, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
	assert_false(is_marked(f));
	assert_int_equal(control_pause(f->state_fd, &f->err), -ECONNREFUSED);
}

static void test_pause_fails(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"@no-freeze\",\"sleep\",\"1000\"]");
	assert_int_equal(control_pause(f->state_fd, &f->err), -ETIMEDOUT);
	assert_string_equal(f->err.msg, "the agent: it does not stop");
	assert_false(is_marked(f));
	stop_and_wait(f);
}

static void test_inspect(void **state)
{
	struct control_processes processes;
	struct control_stats stats;
	struct fixture *f = *state;
	struct control_exec exec;
	int32_t *pids = NULL;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	start_ok(f);
	assert_int_equal(control_processes(f->state_fd, &processes, &f->err), 0);
	assert_int_equal(processes.n, 1);
	assert_int_equal(processes.items[0].pid, 7);
	assert_string_equal(processes.items[0].command, "a ?b");
	control_processes_release(&processes);
	assert_int_equal(control_stats(f->state_fd, &stats, &f->err), 0);
	assert_int_equal(stats.pids, 5);
	assert_false(stats.has_memory);
	control_stats_release(&stats);
	assert_int_equal(control_pids(f->state_fd, &pids, &f->err), 0);
	free(pids);
	assert_int_equal(exec_of(f, "[\"sleep\",\"1000\"]", false, NULL, &exec), 0);
	assert_int_equal(control_pids(f->state_fd, &pids, &f->err), 1);
	assert_int_equal(pids[0], getpid());
	free(pids);
	control_exec_release(&exec);
	do {
		int n = control_pids(f->state_fd, &pids, &f->err);

		free(pids);
		if (n == 0)
			break;
	} while (usleep(1000) == 0);
	stop_and_wait(f);
	assert_int_equal(control_stats(f->state_fd, &stats, &f->err), -ECONNREFUSED);
}

static void test_inspect_hostile(void **state)
{
	struct control_processes processes;
	struct control_stats stats;
	struct fixture *f = *state;

	skip_unless_root();
	create_ok(f, "[\"@big\",\"sleep\",\"1000\"]");
	assert_int_equal(control_processes(f->state_fd, &processes, &f->err), -EPROTO);
	assert_non_null(strstr(f->err.msg, "an answer of 1048577 bytes"));
	assert_int_equal(control_stats(f->state_fd, &stats, &f->err), -EPROTO);
	assert_string_equal(f->err.msg, "the guest gave figures that are none");
	/* It is served all the same */
	assert_int_equal(control_signal(f->state_fd, SIGKILL, false, &f->err), 0);
	assert_int_equal(wait_monitor(f), 137);
}

static void test_events(void **state)
{
	struct fixture *f = *state;
	int first, second;

	skip_unless_root();
	create_ok(f, "[\"@oom\",\"sleep\",\"1000\"]");
	start_ok(f);
	first = control_events_open(f->state_fd, &f->err);
	second = control_events_open(f->state_fd, &f->err);
	assert_true(first >= 0 && second >= 0);
	assert_int_equal(control_signal(f->state_fd, SIGUSR1, false, &f->err), 0);
	assert_int_equal(control_events_next(first, &f->err), 1);
	assert_int_equal(control_events_next(second, &f->err), 1);
	close(second);
	stop_and_wait(f);
	assert_int_equal(control_events_next(first, &f->err), 0);
	close(first);
	assert_int_equal(control_events_open(f->state_fd, &f->err), -ECONNREFUSED);
}

/* The kill that ends the container is told, though nothing was heard of it before its end */
static void test_events_last(void **state)
{
	struct fixture *f = *state;
	int events;

	skip_unless_root();
	create_ok(f, "[\"@oom-last\",\"sh\",\"-c\",\"exit 3\"]");
	events = control_events_open(f->state_fd, &f->err);
	assert_true(events >= 0);
	start_ok(f);
	assert_int_equal(control_events_next(events, &f->err), 1);
	assert_int_equal(control_events_next(events, &f->err), 0);
	close(events);
	assert_int_equal(wait_monitor(f), 3);
}

/* A guest that cries without end is heard ten times in a second */
static void test_events_flood(void **state)
{
	struct fixture *f = *state;
	uint64_t start;
	int events;

	skip_unless_root();
	/* Silent until Create has said which kind it is: the first answer is the second call's */
	create_ok(f, "[\"@oom-flood\",\"sleep\",\"1000\"]");
	events = control_events_open(f->state_fd, &f->err);
	assert_true(events >= 0);
	start = io_now_ms();
	for (int i = 0; i < 5; i++)
		assert_int_equal(control_events_next(events, &f->err), 1);
	assert_true(io_now_ms() - start >= 300);
	close(events);
	stop_and_wait(f);
}

static void test_leak_is_found(void **state)
{
	struct fixture *f = *state;
	int status;

	skip_unless_root();
	if (create(f, &(struct container){.args = "[\"true\"]", .fake = "leak"}, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	start_ok(f);
	status = wait_monitor(f);
	if (FINDS_LEAKS)
		assert_int_not_equal(status, 0);
	else
		assert_int_equal(status, 0);
}

static void test_idle_client(void **state)
{
	struct fixture *f = *state;
	struct control_reply reply = {0};
	int fd;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	fd = raw_connect(f);
	assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.code, -ETIMEDOUT);
	assert_string_equal(reply.text, "no request came within 5 seconds");
	close(fd);
	stop_and_wait(f);
}

static unsigned long cpu_ticks(pid_t pid)
{
	unsigned long user = 0, system = 0;
	char path[64], *text = NULL, *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	assert_true(io_read_file(AT_FDCWD, path, 4096, &text, NULL) > 0);
	p = strrchr(text, ')');
	assert_int_equal(sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
				&system),
			 2);
	free(text);
	return user + system;
}

/* Connections that cannot be accepted are no reason to turn the loop without a pause, and are served later */
static void test_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, none = {4, 4};
	struct control_request request;
	struct control_reply reply;
	unsigned long before;
	int fd;

	skip_unless_root();
	create_ok(f, "[\"sleep\",\"1000\"]");
	assert_int_equal(prlimit(f->monitor.pid, RLIMIT_NOFILE, NULL, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(prlimit(f->monitor.pid, RLIMIT_NOFILE, &none, NULL), 0);
	fd = raw_connect(f);
	control_request_init(&request, CONTROL_PING);
	assert_int_equal(send(fd, &request, sizeof(request), MSG_NOSIGNAL), sizeof(request));
	before = cpu_ticks(f->monitor.pid);
	(void)poll(NULL, 0, 2000);
	assert_true(cpu_ticks(f->monitor.pid) - before < (unsigned long)sysconf(_SC_CLK_TCK) / 5);
	assert_int_equal(prlimit(f->monitor.pid, RLIMIT_NOFILE, &old, NULL), 0);
	assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.code, 0);
	close(fd);
	stop_and_wait(f);
}

/* A guest that does not end when asked is killed in the end */
static void test_stubborn_guest(void **state)
{
	struct fixture *f = *state;

	skip_unless_root();
	if (create(f, &(struct container){.args = "[\"sleep\",\"1000\"]", .fake = "stubborn"}, -1) <
	    0)
		fail_msg("create: %s", f->err.msg);
	stop_and_wait(f);
}

/* The log of the monitor while @fake shuts down; it must end with the container's own status */
static char *shutdown_log(struct fixture *f, const char *fake_mode, uint64_t *took_ms)
{
	const struct container c = {
		.args = "[\"sh\",\"-c\",\"exit 5\"]", .fake = fake_mode, .heartbeat_s = 1};
	char path[] = "/tmp/monitor-log.XXXXXX", *text = NULL;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	log_set_fd(fd);
	if (create(f, &c, -1) < 0)
		fail_msg("create: %s", f->err.msg);
	start_ok(f);
	*took_ms = io_now_ms();
	assert_int_equal(wait_monitor(f), 5);
	*took_ms = io_now_ms() - *took_ms;
	log_set_fd(-1);
	close(fd);
	assert_true(io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL) >= 0);
	unlink(path);
	return text;
}

/* As long as it gives signs of life, a guest may take its time to write its files back: here, longer than one that is silent */
static void test_slow_sync(void **state)
{
	cleanup_free char *text = NULL;
	uint64_t took_ms;

	skip_unless_root();
	text = shutdown_log(*state, "slow-sync", &took_ms);
	assert_true(took_ms >= 4500);
	assert_null(strstr(text, "may be lost"));
}

static void test_hang_in_shutdown(void **state)
{
	cleanup_free char *text = NULL;
	uint64_t took_ms;

	skip_unless_root();
	text = shutdown_log(*state, "no-pong", &took_ms);
	assert_non_null(strstr(text,
			       "no sign of life for 3 seconds, its vmm used 0.0 s of CPU time "
			       "meanwhile; it is killed, and what it had not yet "
			       "written to its files may be lost"));
	assert_true(took_ms >= 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_exit_code),
		TEST(test_exit_by_signal),
		TEST(test_killed_before_start),
		TEST(test_start_twice),
		TEST(test_started_is_noted),
		TEST(test_bytes_both_ways),
		TEST(test_late_reader),
		TEST(test_reader_gone),
		TEST(test_nothing_holds_the_pipes),
		TEST(test_signals_are_passed_on),
		TEST(test_monitor_killed),
		TEST(test_panic),
		TEST(test_vmm_dies),
		TEST(test_agent_closes),
		TEST(test_hang),
		TEST(test_hang_of_a_stopped_vmm),
		TEST(test_hang_of_a_busy_guest),
		TEST(test_program_missing),
		TEST(test_agent_refuses),
		TEST(test_panic_in_create),
		TEST(test_boot_panic),
		TEST(test_no_kvm),
		TEST(test_agent_never_answers),
		TEST(test_vmm_talks_garbage),
		TEST(test_other_version),
		TEST(test_no_console_socket),
		TEST(test_bind_missing),
		TEST(test_network_is_none),
		TEST(test_abandoned),
		TEST(test_abandoned_then_continued),
		TEST(test_view),
		TEST(test_hooks),
		TEST(test_hooks_of_others),
		TEST(test_hook_fails),
		TEST(test_container_hook_fails),
		TEST(test_monitor_killed_during_hooks),
		TEST(test_container_hook_is_given_up),
		TEST(test_keeps_nothing),
		TEST(test_guest_dies_with_a_stopped_reader),
		TEST(test_cgroup),
		TEST(test_terminal),
		TEST(test_terminal_end),
		TEST(test_exec),
		TEST(test_exec_tail),
		TEST(test_exec_not_found),
		TEST(test_exec_abandoned),
		TEST(test_exec_signal_and_guest_end),
		TEST(test_exec_terminal),
		TEST(test_control_refusals),
		TEST(test_control_is_full),
		TEST(test_pause),
		TEST(test_pause_fails),
		TEST(test_inspect),
		TEST(test_inspect_hostile),
		TEST(test_events),
		TEST(test_events_last),
		TEST(test_events_flood),
		TEST(test_stop_of_a_hanging_guest),
		TEST(test_stop_of_a_stopped_monitor),
		TEST(test_signal_to_a_stopped_monitor),
		TEST(test_deaf_guest),
		TEST(test_storm),
		TEST(test_idle_client),
		TEST(test_no_descriptors),
		TEST(test_stubborn_guest),
		TEST(test_slow_sync),
		TEST(test_hang_in_shutdown),
		TEST(test_leak_is_found),
	};

	(void)alarm(300);
	/* CAISSON_TEST_LOG=FILE: what the monitors say */
	if (getenv("CAISSON_TEST_LOG"))
		(void)log_open(getenv("CAISSON_TEST_LOG"), LOG_FORMAT_TEXT, LOG_DEBUG, NULL);
	else
		log_set_fd(-1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
