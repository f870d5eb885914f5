/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixture, included by guest_agent*_test.c: the agent as a whole, without a guest. It runs as PID 1 of fresh namespaces on this machine, with Unix sockets for vsock and a
 * directory for virtio-fs, and the test is its monitor.
 *
 *   test ──ttrpc, streams (AF_UNIX)──▶ agent (PID 1 of pid, mount, uts, ipc, net, cgroup namespaces) ──▶ containers (busybox)
 *
 * Needs root, cgroup2 and a static busybox; skips without.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/machine.h"
#include "lib/ttrpc.h"

#include "oci/config.h"
#include "oci/seccomp.h"

#include "guest/agent.h"
#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"

#define DEADLINE_MS 60000
#define SERVICE "caisson.agent.Agent"
#define CGROUP_PREFIX "agent-test-"
#define CGROUP_STALE_S 600 /* an empty cgroup of that age is nobody's any more */

/* ---- the machine: an agent in namespaces ---- */

struct machine {
	char dir[64]; /* roots/, stage/, cgroup/, agent.sock, stream.sock */
	const char *
		cgroup; /* within cgroup/: the last part of dir, since all runs on a host share that tree */
	int agent_fd, stream_fd;
	int events;	     /* pipe: uint32_t what << 16 | argument, as the port would get */
	pid_t keeper, agent; /* agent: its pid here */
	struct loop *loop;
	struct ttrpc_conn *conn;
	uint64_t next_token;
	bool closed;
};
static struct machine machine;
static int events_out = -1;

static void notify(uint32_t what, uint16_t argument)
{
	uint32_t word = what << 16 | argument;

	(void)!write(events_out, &word, sizeof(word));
	if (what != MACHINE_AGENT_READY)
		_exit(0);
}

static int listen_at(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", machine.dir, name);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0)
		return -1;
	return fd;
}

static int connect_to(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", machine.dir, name);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void path_in(char out[256], const char *name)
{
	(void)snprintf(out, 256, "%s/%s", machine.dir, name);
}

static void write_text(const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	path_in(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static bool is_static_busybox(const char *path)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "%s true", path);
	return access(path, X_OK) == 0 && system(command) == 0; /* a test may */
}

static void path_in_cgroup(char out[256], const char *name)
{
	(void)snprintf(out, 256, "%s/cgroup/%s%s", machine.dir, machine.cgroup, name);
}

static void remove_cgroup(void)
{
	uint64_t end = io_now_ms() + DEADLINE_MS;
	cleanup_close int top = -1, own = -1;
	char path[256];

	path_in(path, "cgroup");
	top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own = openat(top, machine.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (own < 0)
		return;
	(void)cgroup_signal(own, SIGKILL);
	while (cgroup_remove(top, machine.cgroup) == -EBUSY && io_now_ms() < end)
		(void)usleep(10000);
}

/* What killed runs have left. Never what another run may be using: not in use is not enough, it may have just been made */
static void remove_stale_cgroups(void)
{
	cleanup_close int top = -1;
	struct dirent *entry;
	char path[256];
	struct stat st;
	DIR *dir;

	path_in(path, "cgroup");
	top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)) == 0 &&
		    fstatat(top, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime + CGROUP_STALE_S < time(NULL))
			(void)cgroup_remove(top, entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
}

static bool make_files(void)
{
	static const char *const dirs[] = {
		"roots",	"roots/0",	   "roots/0/bin", "roots/0/etc",
		"roots/0/proc", "roots/0/sys",	   "roots/0/dev", "roots/0/tmp",
		"roots/0/root", "roots/0/etc/sub", "roots/1",	  "stage",
		"stage/root",	"stage/scratch",   "stage/mask",  "cgroup",
	};
	static const char *const applets[] = {
		"sh",	"cat",	     "true",  "id",   "sleep", "yes",	   "head",
		"stat", "ls",	     "mount", "stty", "tty",   "ps",	   "kill",
		"grep", "hostname",  "pwd",   "env",  "touch", "readlink", "seq",
		"wc",	"sha256sum", "dd",    "test", "mkdir", "cut",	   "printf"};
	char path[256], command[512];

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		path_in(path, dirs[i]);
		if (mkdir(path, 0755) < 0)
			return false;
	}
	(void)snprintf(command, sizeof(command), "cp /bin/busybox %s/roots/0/bin/busybox",
		       machine.dir);
	if (system(command) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		(void)snprintf(path, sizeof(path), "%s/roots/0/bin/%s", machine.dir, applets[i]);
		if (symlink("busybox", path) < 0)
			return false;
	}
	path_in(path, "roots/0/escape");
	if (symlink("/outside", path) < 0)
		return false;
	path_in(path, "cgroup");
	if (mount("cgroup", path, "cgroup2", 0, NULL) < 0)
		return false;
	remove_stale_cgroups();
	path_in_cgroup(path, "");
	if (mkdir(path, 0755) < 0)
		return false;
	write_text("roots/0/etc/passwd",
		   "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n", 0644);
	write_text("roots/0/bin/private", "#!/bin/sh\n", 0700);
	write_text("roots/0/bin/noexec", "#!/bin/sh\n", 0644);
	write_text("roots/0/bin/junk", "junk\n", 0755);
	write_text("roots/0/etc/sub/file", "below\n", 0600);
	write_text("roots/1/data", "volume\n", 0644);
	write_text("roots/2", "single file\n", 0644);
	return true;
}

/* All that can be, those that the C library keeps to itself too: processes must not see it. SIGCHLD would end the reaper. */
static void ignore_signals(void)
{
	static const struct {
		unsigned long handler, flags, restorer, mask;
	} ignore = {.handler = (unsigned long)SIG_IGN};

	for (int signo = 1; signo < NSIG; signo++) {
		if (signo != SIGCHLD)
			(void)syscall(SYS_rt_sigaction, signo, &ignore, NULL, sizeof(ignore.mask));
	}
}

static _Noreturn void be_agent(int events)
{
	char roots[256], stage[256], cgroup[256];
	struct agent_config config = {
		.agent_fd = machine.agent_fd, .stream_fd = machine.stream_fd, .notify = notify};
	struct err err = {0};

	events_out = events;
	if (getenv("AGENT_TEST_VERBOSE"))
		log_set_fd(STDERR_FILENO);
	path_in(roots, "roots");
	path_in(stage, "stage");
	path_in_cgroup(cgroup, "");
	config.roots_dir = roots;
	config.stage_dir = stage;
	config.cgroup_dir = cgroup;
	(void)setsid();
	ignore_signals();
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		_exit(77);
	(void)agent_run(&config, &err);
	(void)fprintf(stderr, "agent: %s\n", err.msg);
	_exit(1);
}

/* A process of its own makes the namespaces, so that the test keeps its own */
static _Noreturn void be_keeper(int events)
{
	pid_t pid;
	int status;

	char procs[256];
	int fd;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	path_in_cgroup(procs, "/cgroup.procs");
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(77);
	(void)close(fd);
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
		    CLONE_NEWCGROUP) < 0)
		_exit(77);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_agent(events);
	}
	if (pid < 0 || write(events, &pid, sizeof(pid)) != sizeof(pid))
		_exit(77);
	if (waitpid(pid, &status, 0) < 0)
		_exit(77);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static uint32_t next_event(void)
{
	struct pollfd p = {.fd = machine.events, .events = POLLIN};
	uint32_t word;

	if (poll(&p, 1, DEADLINE_MS) != 1 ||
	    read(machine.events, &word, sizeof(word)) != sizeof(word))
		return 0;
	return word;
}

static void on_conn_closed(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	machine.closed = true;
	machine.conn = NULL;
	ttrpc_conn_free(conn);
}

static void connect_agent(void)
{
	machine.conn = ttrpc_conn_new(machine.loop, connect_to("agent.sock"), NULL, on_conn_closed,
				      NULL, NULL);
	assert_non_null(machine.conn);
}

static bool start_machine(void)
{
	int fds[2];

	(void)snprintf(machine.dir, sizeof(machine.dir), "/tmp/" CGROUP_PREFIX "XXXXXX");
	machine.cgroup = machine.dir + strlen("/tmp/");
	if (geteuid() != 0 || !is_static_busybox("/bin/busybox") || !mkdtemp(machine.dir))
		return false;
	(void)chmod(machine.dir, 0755);
	if (mount("tmpfs", machine.dir, "tmpfs", 0, "mode=755") < 0 || !make_files())
		return false;
	machine.agent_fd = listen_at("agent.sock");
	machine.stream_fd = listen_at("stream.sock");
	if (machine.agent_fd < 0 || machine.stream_fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return false;
	machine.events = fds[0];
	machine.keeper = fork();
	if (machine.keeper == 0)
		be_keeper(fds[1]);
	(void)close(fds[1]);
	machine.agent = (pid_t)next_event();
	machine.loop = loop_new(NULL);
	if (machine.agent <= 0 || next_event() != MACHINE_AGENT_READY << 16)
		return false;
	/* A connection to an agent that has died must fail, not wait in a queue that nobody serves */
	close_fd(&machine.agent_fd);
	close_fd(&machine.stream_fd);
	return true;
}

static void stop_machine(void)
{
	if (machine.conn)
		ttrpc_conn_free(machine.conn);
	if (machine.keeper > 0) {
		(void)kill(machine.keeper, SIGKILL);
		(void)waitpid(machine.keeper, NULL, 0);
	}
	loop_free(machine.loop);
	close_fd(&machine.agent_fd);
	close_fd(&machine.stream_fd);
	if (machine.dir[0])
		remove_cgroup();
	if (machine.dir[0] && (umount2(machine.dir, MNT_DETACH) == 0 || true))
		(void)rmdir(machine.dir);
}

/* ---- calls ---- */

struct answer {
	bool done;
	enum ttrpc_code code;
	char message[2048];
	uint8_t payload[32768];
	size_t len;
};

static void on_answer(const struct ttrpc_result *result, void *arg)
{
	struct answer *answer = arg;

	answer->done = true;
	answer->code = result->code;
	(void)snprintf(answer->message, sizeof(answer->message), "%s", result->message);
	answer->len = result->len < sizeof(answer->payload) ? result->len : sizeof(answer->payload);
	if (answer->len)
		memcpy(answer->payload, result->payload, answer->len);
}

static void begin(struct answer *answer, const char *method, const void *message)
{
	*answer = (struct answer){0};
	assert_non_null(machine.conn);
	assert_int_equal(
		ttrpc_call(machine.conn, SERVICE, method, message, DEADLINE_MS, on_answer, answer),
		0);
}

static enum ttrpc_code finish(struct answer *answer)
{
	uint64_t end = io_now_ms() + DEADLINE_MS;

	while (!answer->done && io_now_ms() < end)
		(void)loop_step(machine.loop, 1000);
	assert_true(answer->done);
	return answer->code;
}

static struct answer last;

static enum ttrpc_code call(const char *method, const void *message)
{
	begin(&last, method, message);
	return finish(&last);
}

static enum ttrpc_code hello(uint32_t version)
{
	Caisson__Agent__HelloRequest request = CAISSON__AGENT__HELLO_REQUEST__INIT;
	uint8_t entropy[64] = {1, 2, 3};

	request.version = version;
	request.entropy.data = entropy;
	request.entropy.len = sizeof(entropy);
	request.log_level = 1;
	return call("Hello", &request);
}

/* ---- streams ---- */

struct io {
	uint64_t tokens[3];
	int fds[3]; /* -1: not connected */
	bool terminal;
};

static int open_stream(uint64_t token)
{
	struct machine_stream_hello greeting = {.magic = MACHINE_STREAM_MAGIC, .token = token};
	int fd = connect_to("stream.sock");

	assert_int_equal(io_write_full(fd, &greeting, sizeof(greeting)), 0);
	return fd;
}

static struct io new_io(bool terminal)
{
	struct io io = {.terminal = terminal, .fds = {-1, -1, -1}};

	for (int i = 0; i < 3; i++) {
		if (terminal && i != 1)
			continue;
		io.tokens[i] = ++machine.next_token;
		io.fds[i] = open_stream(io.tokens[i]);
	}
	return io;
}

static void close_io(struct io *io)
{
	for (int i = 0; i < 3; i++)
		close_fd(&io->fds[i]);
}

/* Read until the end, or until @until has been seen; Return: bytes, text is NUL-terminated */
static size_t read_text(int fd, char *text, size_t size, const char *until)
{
	uint64_t end = io_now_ms() + DEADLINE_MS;
	size_t len = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		text[len] = '\0';
		if ((until && strstr(text, until)) || len == size - 1)
			return len;
		if (io_now_ms() > end || poll(&p, 1, 1000) < 0)
			fail_msg("no answer on a stream; so far '%s'", text);
		if (!(p.revents))
			continue;
		n = recv(fd, text + len, size - 1 - len, 0);
		if (n <= 0)
			return len;
		len += (size_t)n;
	}
}

/* ---- containers ---- */

#define NAMESPACES                                                                                 \
	"{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"},{\"type\":" \
	"\"cgroup\"},{\"type\":\"network\"}"
#define MOUNTS                                                                                   \
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"                     \
	"{\"destination\":\"/"                                                                   \
	"dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\"," \
	"\"mode=755\",\"size=65536k\"]},"                                                        \
	"{\"destination\":\"/dev/"                                                               \
	"pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","    \
	"\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"                           \
	"{\"destination\":\"/dev/"                                                               \
	"shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\","        \
	"\"nodev\",\"mode=1777\",\"size=65536k\"]},"                                             \
	"{\"destination\":\"/dev/"                                                               \
	"mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\"," \
	"\"nodev\"]},"                                                                           \
	"{\"destination\":\"/"                                                                   \
	"sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\","      \
	"\"nodev\",\"ro\"]},"                                                                    \
	"{\"destination\":\"/sys/fs/"                                                            \
	"cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\",\"noexec\"," \
	"\"nodev\",\"relatime\",\"ro\"]}"

/* What a test changes; NULL: the usual */
struct spec {
	const char *args;    /* JSON: "\"sh\",\"-c\",\"exit 3\"" */
	const char *process; /* more members of process, with a comma before each */
	const char *mounts;  /* more mounts, with a comma before each */
	const char *linux_;  /* more members of linux, the same */
	const char *top;     /* more members of the config, the same */
	const char *namespaces;
	bool readonly;
	bool without_filter;   /* a profile's program gets lost */
	size_t filter_len;     /* bytes instead of a program */
	uint32_t filter_flags; /* more flags */
};

static char *config_of(const struct spec *spec, bool terminal)
{
	static char text[65536];

	(void)snprintf(text, sizeof(text),
		       "{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":%s,\"args\":[%s],"
		       "\"cwd\":\"/\","
		       "\"env\":[\"PATH=/"
		       "bin\"],\"user\":{\"uid\":0,\"gid\":0}%s},\"root\":{\"path\":\"rootfs\","
		       "\"readonly\":%s},"
		       "\"mounts\":[" MOUNTS "%s],\"linux\":{\"namespaces\":[%s]%s}%s}",
		       terminal ? "true" : "false", spec->args, spec->process ? spec->process : "",
		       spec->readonly ? "true" : "false", spec->mounts ? spec->mounts : "",
		       spec->namespaces ? spec->namespaces : NAMESPACES,
		       spec->linux_ ? spec->linux_ : "", spec->top ? spec->top : "");
	return text;
}

static void fill_stdio(Caisson__Agent__Stdio *stdio, const struct io *io)
{
	caisson__agent__stdio__init(stdio);
	stdio->stdin_token = io->tokens[0];
	stdio->stdout_token = io->tokens[1];
	stdio->stderr_token = io->tokens[2];
}

/* The monitor's part: linux.seccomp as a program, which the result points to */
static Caisson__Agent__Seccomp *seccomp_of(const struct spec *spec, const char *config)
{
	static Caisson__Agent__Seccomp seccomp;
	static struct sysfilter_program program;
	static uint8_t bytes[2 * SYSFILTER_BYTES_MAX];
	CLEANUP(oci_config) struct oci_config *parsed = NULL;

	caisson__agent__seccomp__init(&seccomp);
	seccomp.program = (ProtobufCBinaryData){.len = spec->filter_len, .data = bytes};
	seccomp.flags = spec->filter_flags;
	if (spec->filter_len)
		return &seccomp;
	if (spec->without_filter || oci_config_parse(config, strlen(config), &parsed, NULL) < 0 ||
	    !parsed->linux_.seccomp)
		return NULL;
	sysfilter_release(&program);
	assert_int_equal(sysfilter_compile(&parsed->linux_.seccomp->filter, &program, NULL), 0);
	seccomp.flags |= parsed->linux_.seccomp->flags;
	seccomp.program.len = program.n * sizeof(*program.insns);
	seccomp.program.data = (uint8_t *)program.insns;
	return &seccomp;
}

/* mounts[7] and up are the test's own: export 1 (a directory), then 2 (a file), then 1 again */
static void begin_create(struct answer *answer, const char *id, const struct spec *spec,
			 const struct io *io)
{
	Caisson__Agent__CreateRequest request = CAISSON__AGENT__CREATE_REQUEST__INIT;
	Caisson__Agent__MountSource sources[3], *list[3];
	Caisson__Agent__Stdio stdio;
	char *config = config_of(spec, io->terminal);

	for (uint32_t i = 0; i < 3; i++) {
		caisson__agent__mount_source__init(&sources[i]);
		sources[i].mount_index = 7 + i;
		sources[i].export_id = i == 1 ? 2 : 1;
		list[i] = &sources[i];
	}
	if (spec->mounts) {
		request.mount_sources = list;
		for (const char *p = spec->mounts; (p = strstr(p, "\"type\":\"bind\"")); p++)
			request.n_mount_sources++;
	}
	fill_stdio(&stdio, io);
	request.id = (char *)id;
	request.config.data = (uint8_t *)config;
	request.config.len = strlen(config);
	request.bundle = (char *)"/the/bundle";
	request.stdio = &stdio;
	request.seccomp = seccomp_of(spec, config);
	begin(answer, "Create", &request);
}

static enum ttrpc_code create(const char *id, const struct spec *spec, const struct io *io)
{
	begin_create(&last, id, spec, io);
	return finish(&last);
}

static enum ttrpc_code start(const char *id)
{
	Caisson__Agent__StartRequest request = CAISSON__AGENT__START_REQUEST__INIT;

	request.id = (char *)id;
	return call("Start", &request);
}

static enum ttrpc_code process_call(const char *method, const char *id, const char *exec_id)
{
	Caisson__Agent__ProcessRequest request = CAISSON__AGENT__PROCESS_REQUEST__INIT;

	request.id = (char *)id;
	request.exec_id = (char *)exec_id;
	return call(method, &request);
}

static uint64_t last_output[2]; /* of wait_for() */

/* Return: exit code, 128 + signal as a shell would say */
static int wait_for(const char *id, const char *exec_id)
{
	Caisson__Agent__WaitResponse *response;
	int code;

	assert_int_equal(process_call("Wait", id, exec_id), TTRPC_OK);
	response = caisson__agent__wait_response__unpack(NULL, last.len, last.payload);
	assert_non_null(response);
	last_output[0] = response->stdout_bytes;
	last_output[1] = response->stderr_bytes;
	code = response->signal ? 128 + (int)response->signal : (int)response->exit_code;
	caisson__agent__wait_response__free_unpacked(response, NULL);
	return code;
}

__attribute__((unused)) static enum ttrpc_code signal_to(const char *id, const char *exec_id,
							 unsigned int signo, bool all)
{
	Caisson__Agent__SignalRequest request = CAISSON__AGENT__SIGNAL_REQUEST__INIT;

	request.id = (char *)id;
	request.exec_id = (char *)exec_id;
	request.signal = signo;
	request.all = all;
	return call("Signal", &request);
}

static void begin_exec(struct answer *answer, const char *id, const char *exec_id, const char *args,
		       const char *more, const struct io *io)
{
	Caisson__Agent__ExecRequest request = CAISSON__AGENT__EXEC_REQUEST__INIT;
	Caisson__Agent__Stdio stdio;
	char text[8192];

	(void)snprintf(text, sizeof(text),
		       "{\"terminal\":%s,\"args\":[%s],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],"
		       "\"user\":{\"uid\":0,\"gid\":0}%s}",
		       io->terminal ? "true" : "false", args, more ? more : "");
	fill_stdio(&stdio, io);
	request.id = (char *)id;
	request.exec_id = (char *)exec_id;
	request.process.data = (uint8_t *)text;
	request.process.len = strlen(text);
	request.stdio = &stdio;
	begin(answer, "Exec", &request);
}

__attribute__((unused)) static enum ttrpc_code exec_in(const char *id, const char *exec_id,
						       const char *args, const char *more,
						       const struct io *io)
{
	begin_exec(&last, id, exec_id, args, more, io);
	return finish(&last);
}

static void delete (const char *id)
{
	assert_int_equal(process_call("Delete", id, ""), TTRPC_OK);
}

/* Run to the end with empty input; Return: exit code; @out gets stdout and stderr, one after the other */
static int run(const struct spec *spec, char *out, size_t size)
{
	struct io io = new_io(false);
	size_t len;
	int code;

	if (create("run", spec, &io) != TTRPC_OK)
		fail_msg("Create: %s", last.message);
	if (start("run") != TTRPC_OK)
		fail_msg("Start: %s", last.message);
	/* It may have ended already */
	assert_true(shutdown(io.fds[0], SHUT_WR) == 0 || errno == ENOTCONN);
	len = read_text(io.fds[1], out, size, NULL);
	(void)read_text(io.fds[2], out + len, size - len, NULL);
	code = wait_for("run", "");
	delete ("run");
	close_io(&io);
	return code;
}

__attribute__((unused)) static int run_sh(const char *script, const struct spec *more, char *out,
					  size_t size)
{
	struct spec spec = more ? *more : (struct spec){0};
	char args[4096];

	(void)snprintf(args, sizeof(args), "\"sh\",\"-c\",\"%s\"", script);
	spec.args = args;
	return run(&spec, out, size);
}
