/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's service (guest/agent.proto): decode, look up, act, answer.
 *
 * Every method is a row of agent_methods[] with the most bytes its request may have. Before Hello nothing else is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "guest/agent.h"
#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/container.h"
#include "guest/limits.h"
#include "guest/stats.h"

#define ENTROPY_MIN 32
#define ENTROPY_MAX 512
#define SMALL_REQUEST_MAX 4096
#define SOURCES_MAX 4096 /* mount sources of one container */

static void reply_empty(struct ttrpc_call *call)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;

	ttrpc_reply_message(call, &empty);
}

static void reply_errno(struct ttrpc_call *call, int r, const char *what)
{
	if (r == -ESRCH)
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "process already finished");
	else
		ttrpc_reply_error(call, r == -EINVAL ? TTRPC_INVALID_ARGUMENT : TTRPC_INTERNAL,
				  "%s: %s", what, err_reason(-r));
}

/* Decode a request of @type; answers and leaves the handler when it is broken or too early */
#define decode(type, TYPE, request, early)                                                        \
	Caisson__Agent__##TYPE *request __attribute__((cleanup(free_##type))) = NULL;             \
	struct agent *agent = arg;                                                                \
	if (!agent->greeted && !(early)) {                                                        \
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,                                \
				  "the agent has not been greeted");                              \
		return;                                                                           \
	}                                                                                         \
	request = caisson__agent__##type##__unpack(NULL, len, payload);                           \
	if (!request) {                                                                           \
		ttrpc_reply_error(call, TTRPC_INVALID_ARGUMENT, "the request cannot be decoded"); \
		return;                                                                           \
	}

#define DEFINE_FREE(type, TYPE)                                            \
	static void free_##type(Caisson__Agent__##TYPE **p)                \
	{                                                                  \
		if (*p)                                                    \
			caisson__agent__##type##__free_unpacked(*p, NULL); \
	}
DEFINE_FREE(hello_request, HelloRequest)
DEFINE_FREE(create_request, CreateRequest)
DEFINE_FREE(start_request, StartRequest)
DEFINE_FREE(exec_request, ExecRequest)
DEFINE_FREE(process_request, ProcessRequest)
DEFINE_FREE(signal_request, SignalRequest)
DEFINE_FREE(resize_request, ResizeRequest)
DEFINE_FREE(container_request, ContainerRequest)
DEFINE_FREE(wait_oom_request, WaitOomRequest)
DEFINE_FREE(empty, Empty)
DEFINE_FREE(update_request, UpdateRequest)
DEFINE_FREE(set_network_request, SetNetworkRequest)
DEFINE_FREE(grow_memory_request, GrowMemoryRequest)
DEFINE_FREE(relay_socket_request, RelaySocketRequest)

static struct container *find_container(struct agent *agent, struct ttrpc_call *call,
					const char *id)
{
	struct container *container = agent_container(agent, id);

	if (!container)
		ttrpc_reply_error(call, TTRPC_NOT_FOUND,
				  "container '%.200s' does not exist in the guest", id);
	return container;
}

static struct process *find_process(struct agent *agent, struct ttrpc_call *call, const char *id,
				    const char *exec_id)
{
	struct container *container = find_container(agent, call, id);
	struct process *process = container ? container_process(container, exec_id) : NULL;

	if (container && !process)
		ttrpc_reply_error(call, TTRPC_NOT_FOUND,
				  "process '%.200s' does not exist in container '%.200s'", exec_id,
				  id);
	return process;
}

static void stdio_tokens(const Caisson__Agent__Stdio *stdio, uint64_t tokens[3])
{
	memset(tokens, 0, 3 * sizeof(tokens[0]));
	if (!stdio)
		return;
	tokens[0] = stdio->stdin_token;
	tokens[1] = stdio->stdout_token;
	tokens[2] = stdio->stderr_token;
}

/* ---- methods ---- */

/* Mixed in and counted as entropy; then the pool is told to forget what an earlier copy of this guest may know */
static void add_entropy(const uint8_t *bytes, size_t len)
{
	union {
		struct rand_pool_info info;
		uint8_t bytes[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool = {.info = {.entropy_count = (int)(len * 8), .buf_size = (int)len}};
	cleanup_close int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	memcpy(pool.bytes + offsetof(struct rand_pool_info, buf), bytes, len);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		log_warn("Cannot add entropy: %s, ignoring", err_reason(errno));
	explicit_bzero(&pool, sizeof(pool));
}

static void set_clock(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (ns > 0 && clock_settime(CLOCK_REALTIME, &ts) < 0)
		log_warn("Cannot set the clock: %s, ignoring", err_reason(errno));
}

static void set_log_level(uint32_t level)
{
	int fd = log_fd();

	(void)log_open(NULL, LOG_FORMAT_TEXT, level > LOG_DEBUG ? LOG_DEBUG : (enum log_level)level,
		       NULL);
	log_set_fd(fd);
}

static void on_hello(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	Caisson__Agent__HelloResponse response = CAISSON__AGENT__HELLO_RESPONSE__INIT;
	struct utsname uts = {0};

	decode(hello_request, HelloRequest, request, true);
	if (request->version != CAISSON__AGENT__AGENT_CONSTANTS__AGENT_PROTOCOL_VERSION) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "the agent speaks version %d of the protocol, not %u",
				  (int)CAISSON__AGENT__AGENT_CONSTANTS__AGENT_PROTOCOL_VERSION,
				  request->version);
		return;
	}
	if (request->entropy.len < ENTROPY_MIN || request->entropy.len > ENTROPY_MAX) {
		ttrpc_reply_error(call, TTRPC_INVALID_ARGUMENT,
				  "entropy has %zu bytes, not %d to %d", request->entropy.len,
				  ENTROPY_MIN, ENTROPY_MAX);
		return;
	}
	set_clock(request->realtime_ns);
	add_entropy(request->entropy.data, request->entropy.len);
	set_log_level(request->log_level);
	agent->passages.token = request->relay_token;
	agent->greeted = true;
	(void)uname(&uts);
	response.version = request->version;
	response.kernel = uts.release;
	ttrpc_reply_message(call, &response);
}

static void on_create(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	cleanup_free struct container_mount_source *sources = NULL;
	struct container_request create = {0};

	decode(create_request, CreateRequest, request, false);
	if (request->n_mount_sources > SOURCES_MAX) {
		ttrpc_reply_error(call, TTRPC_INVALID_ARGUMENT, "more than %d mount sources",
				  SOURCES_MAX);
		return;
	}
	sources = calloc(request->n_mount_sources + 1, sizeof(*sources));
	if (!sources) {
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED, "%s", err_reason(ENOMEM));
		return;
	}
	for (size_t i = 0; i < request->n_mount_sources; i++) {
		sources[i].mount_index = request->mount_sources[i]->mount_index;
		sources[i].export_id = request->mount_sources[i]->export_id;
		sockets_enter(&agent->sockets, sources[i].export_id,
			      request->mount_sources[i]->directory);
	}
	create.id = request->id;
	create.bundle = request->bundle;
	create.config = request->config.data;
	create.config_len = request->config.len;
	create.root_export = request->root_export_id;
	create.sources = sources;
	create.nsources = request->n_mount_sources;
	if (request->seccomp) {
		create.has_seccomp = true;
		create.seccomp = request->seccomp->program.data;
		create.seccomp_len = request->seccomp->program.len;
		create.seccomp_flags = request->seccomp->flags;
	}
	stdio_tokens(request->stdio, create.tokens);
	container_create(agent, &create, call);
}

static void on_start(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(start_request, StartRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		container_start(container, call);
}

static void on_exec(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container_exec_request exec = {0};
	struct container *container;

	decode(exec_request, ExecRequest, request, false);
	container = find_container(agent, call, request->id);
	if (!container)
		return;
	exec.exec_id = request->exec_id;
	exec.json = request->process.data;
	exec.len = request->process.len;
	exec.cgroup = request->cgroup;
	stdio_tokens(request->stdio, exec.tokens);
	container_exec(container, &exec, call);
}

static void on_wait(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct process *process;

	decode(process_request, ProcessRequest, request, false);
	process = find_process(agent, call, request->id, request->exec_id);
	if (process)
		process_wait(process, call);
}

static void on_signal(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct process *process;
	int r;

	decode(signal_request, SignalRequest, request, false);
	process = find_process(agent, call, request->id, request->exec_id);
	if (!process)
		return;
	if (request->signal > 64)
		r = -EINVAL;
	else if (request->all)
		r = cgroup_signal(process->container->cgroup_fd, (int)request->signal);
	else
		r = process_signal(process, (int)request->signal);
	if (r < 0)
		reply_errno(call, r, "cannot send the signal");
	else
		reply_empty(call);
}

static void on_resize(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct process *process;
	int r;

	decode(resize_request, ResizeRequest, request, false);
	process = find_process(agent, call, request->id, request->exec_id);
	if (!process)
		return;
	r = stdio_resize(&process->stdio, request->rows, request->columns);
	if (r == -ENOTTY)
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "the process has no terminal");
	else if (r < 0)
		reply_errno(call, r, "cannot resize the terminal");
	else
		reply_empty(call);
}

static void on_delete(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;
	struct process *process;

	decode(process_request, ProcessRequest, request, false);
	container = find_container(agent, call, request->id);
	if (!container)
		return;
	if (!*request->exec_id) {
		container_delete(container, call);
		container_try_remove(container);
		return;
	}
	process = find_process(agent, call, request->id, request->exec_id);
	if (!process)
		return;
	if (process->state != PROCESS_ENDED) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "process '%.200s' is still running", request->exec_id);
		return;
	}
	process_delete(process);
	reply_empty(call);
}

static void on_freeze(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(container_request, ContainerRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		freezer_freeze(container, call);
}

static void on_thaw(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(container_request, ContainerRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		freezer_thaw(container, call);
}

static void on_processes(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(container_request, ContainerRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		ps_list(container, call);
}

static void on_stats(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(container_request, ContainerRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		stats_answer(container->cgroup_fd, call);
}

static void on_wait_oom(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(wait_oom_request, WaitOomRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		oom_wait(container, request->seen, call);
}

static void on_ping(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	decode(empty, Empty, request, false);
	reply_empty(call);
}

static void on_shutdown(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	decode(empty, Empty, request, true);
	reply_empty(call);
	agent_power_off(agent, true);
}

static void on_update(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct container *container;

	decode(update_request, UpdateRequest, request, false);
	container = find_container(agent, call, request->id);
	if (container)
		container_update(container, request->resources.data, request->resources.len, call);
}

static void on_set_network(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct err err = {0};

	decode(set_network_request, SetNetworkRequest, request, false);
	if (network_set(&agent->network, take_ptr(&request), &err) < 0 ||
	    agent_follow_network(agent, false, &err) < 0)
		ttrpc_reply_error(call, TTRPC_INTERNAL, "%s", err.msg);
	else
		reply_empty(call);
}

static void on_grow_memory(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	decode(grow_memory_request, GrowMemoryRequest, request, false);
	memory_grow(agent, request->bytes, call);
}

static void on_relay_socket(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	struct err err = {0};

	decode(relay_socket_request, RelaySocketRequest, request, false);
	if (request->stop)
		sockets_stop(&agent->sockets, request->socket);
	else if (sockets_relay(&agent->sockets, request->socket, request->export_id,
			       request->datagram, &err) < 0) {
		ttrpc_reply_error(call, TTRPC_INTERNAL, "%s", err.msg);
		return;
	}
	reply_empty(call);
}

const struct ttrpc_method agent_methods[] = {
	{"Hello", SMALL_REQUEST_MAX, on_hello},
	{"Create", OCI_CONFIG_MAX + (256u << 10), on_create},
	{"Start", SMALL_REQUEST_MAX, on_start},
	{"Exec", OCI_PROCESS_MAX + SMALL_REQUEST_MAX, on_exec},
	{"Wait", SMALL_REQUEST_MAX, on_wait},
	{"Signal", SMALL_REQUEST_MAX, on_signal},
	{"Resize", SMALL_REQUEST_MAX, on_resize},
	{"Delete", SMALL_REQUEST_MAX, on_delete},
	{"Freeze", SMALL_REQUEST_MAX, on_freeze},
	{"Thaw", SMALL_REQUEST_MAX, on_thaw},
	{"Processes", SMALL_REQUEST_MAX, on_processes},
	{"Stats", SMALL_REQUEST_MAX, on_stats},
	{"WaitOom", SMALL_REQUEST_MAX, on_wait_oom},
	{"Ping", SMALL_REQUEST_MAX, on_ping},
	{"Shutdown", SMALL_REQUEST_MAX, on_shutdown},
	{"Update", OCI_RESOURCES_MAX + SMALL_REQUEST_MAX, on_update},
	{"SetNetwork", MACHINE_NET_REQUEST_MAX, on_set_network},
	{"GrowMemory", SMALL_REQUEST_MAX, on_grow_memory},
	{"RelaySocket", SMALL_REQUEST_MAX, on_relay_socket},
	{0},
};
