/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to the agent (guest/agent.proto): the client of the one service inside the guest.
 *
 * While the container is made the calls are waited for (shim_wait()); later each has a callback. No call while serving has a
 * time-out of its own: the heartbeat (end.c) finds a guest that hangs, and the end of the connection completes all calls.
 *
 * The answers are a guest's: of at most AGENT_ANSWER_MAX bytes, unpacked by protobuf-c, every number checked, every text
 * cleaned. NOT_FOUND and PERMISSION_DENIED of Create, Start and Exec are about the container's program; their text
 * is passed on unchanged, because engines search it. ABORTED is that of a startContainer hook.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "guest/agent.pb-c.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/machine.h"

#define AGENT_SERVICE "caisson.agent.Agent"
#define AGENT_ANSWER_MAX 4096 /* bytes of any answer we understand */
#define AGENT_ENTROPY_BYTES 64
#define AGENT_WHY_TIMEOUT_MS 2000

static int call(struct shim *s, const char *method, const void *message, ttrpc_on_result *on_result,
		void *arg)
{
	if (!s->agent)
		return -EPIPE;
	return ttrpc_call(s->agent, AGENT_SERVICE, method, message, 0, on_result, arg);
}

int agent_error(const struct ttrpc_result *result, struct err *err)
{
	static const struct {
		enum ttrpc_code code;
		int number;
	} numbers[] = {
		{TTRPC_INVALID_ARGUMENT, EINVAL},   {TTRPC_DEADLINE_EXCEEDED, ETIMEDOUT},
		{TTRPC_NOT_FOUND, ENOENT},	    {TTRPC_ALREADY_EXISTS, EEXIST},
		{TTRPC_PERMISSION_DENIED, EACCES},  {TTRPC_RESOURCE_EXHAUSTED, ENOMEM},
		{TTRPC_FAILED_PRECONDITION, EBUSY}, {TTRPC_UNIMPLEMENTED, ENOSYS},
		{TTRPC_UNAVAILABLE, EPIPE},	    {TTRPC_ABORTED, ECANCELED},
	};
	char text[ERR_MSG_MAX];
	int number = EIO;

	if (result->code == TTRPC_OK)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].code == result->code)
			number = numbers[i].number;
	snprintf(text, sizeof(text), "%s", result->message);
	text_clean(text);
	if (result->code == TTRPC_UNAVAILABLE)
		return err_set(err, EPIPE, "the guest is gone");
	if (result->code == TTRPC_NOT_FOUND || result->code == TTRPC_PERMISSION_DENIED ||
	    result->code == TTRPC_ABORTED)
		return err_set(err, number, "%s", text);
	return err_set(err, number, "the agent: %s", text);
}

/* ---- waiting for an answer ---- */

struct waited {
	bool done;
	int code; /* of the call */
	size_t len;
	struct err *err;
	uint8_t answer[AGENT_ANSWER_MAX];
};

static void on_waited(const struct ttrpc_result *result, void *arg)
{
	struct waited *w = arg;

	w->done = true;
	w->code = agent_error(result, w->err);
	if (w->code < 0)
		return;
	if (result->len > sizeof(w->answer)) {
		w->code = err_set(w->err, EPROTO, "the agent gave an answer of %zu bytes",
				  result->len);
		return;
	}
	w->len = result->len;
	memcpy(w->answer, result->payload, result->len);
}

/* The connection ended: in a moment the vmm says why */
static int why_unavailable(struct shim *s, const char *what, struct err *err)
{
	const bool never = false;
	struct err more = {0};

	if (shim_wait(s, &never, AGENT_WHY_TIMEOUT_MS, what, &more) == -EIO && err)
		*err = more;
	return -EIO;
}

/* The callback points into our frame: when the wait fails, the connection is closed so that it can never come */
static int call_wait(struct shim *s, const char *method, const void *message, const char *what,
		     struct waited *w, struct err *err)
{
	int r;

	*w = (struct waited){.err = err};
	r = call(s, method, message, on_waited, w);
	if (r < 0)
		return err_sys(err, -r, "%s", what);
	r = shim_wait(s, &w->done, SHIM_CREATE_TIMEOUT_MS, what, err);
	if (r < 0) {
		ttrpc_conn_free(s->agent);
		s->agent = NULL;
		return r;
	}
	return w->code == -EPIPE ? why_unavailable(s, what, err) : w->code;
}

/* ---- connection ---- */

static void on_agent_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, agent_timer);

	if (!s->guest_gone && s->phase != SHIM_SHUTTING_DOWN)
		end_guest_failed(s, "the agent closed its connection");
}

/* Mostly because the guest has died: the vmm's word on that is better than ours, and may come a little later */
void agent_is_gone(struct shim *s)
{
	s->agent_timer.on_expire = on_agent_timer;
	if (loop_timer_arm(s->loop, &s->agent_timer, AGENT_WHY_TIMEOUT_MS) < 0)
		on_agent_timer(&s->agent_timer);
}

static void on_close(struct ttrpc_conn *conn, void *arg)
{
	struct shim *s = arg;

	ttrpc_conn_free(conn);
	s->agent = NULL;
	if (s->phase != SHIM_CREATING && s->phase != SHIM_SHUTTING_DOWN && !s->guest_gone)
		agent_is_gone(s);
}

static int hello(struct shim *s, struct err *err)
{
	Caisson__Agent__HelloRequest request = CAISSON__AGENT__HELLO_REQUEST__INIT;
	Caisson__Agent__HelloResponse *response;
	uint8_t entropy[AGENT_ENTROPY_BYTES];
	struct timespec now;
	struct waited w;
	uint32_t version;
	int r;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(err, errno, "entropy for the guest");
	clock_gettime(CLOCK_REALTIME, &now);
	request.version = CAISSON__AGENT__AGENT_CONSTANTS__AGENT_PROTOCOL_VERSION;
	request.realtime_ns = now.tv_sec * 1000000000ll + now.tv_nsec;
	request.entropy = (ProtobufCBinaryData){.len = sizeof(entropy), .data = entropy};
	request.log_level = log_get_level();
	request.relay_token = s->relays.token;
	r = call_wait(s, "Hello", &request, "greeting the agent", &w, err);
	explicit_bzero(entropy, sizeof(entropy));
	if (r < 0)
		return r;
	response = caisson__agent__hello_response__unpack(NULL, w.len, w.answer);
	version = response ? response->version : 0;
	if (response && response->kernel) {
		text_clean(response->kernel);
		log_debug("The guest runs Linux %.64s", response->kernel);
	}
	if (response)
		caisson__agent__hello_response__free_unpacked(response, NULL);
	if (version != CAISSON__AGENT__AGENT_CONSTANTS__AGENT_PROTOCOL_VERSION)
		return err_set(err, EPROTO,
			       "the agent speaks version %u, not %d: kernel, initramfs and program "
			       "do not belong together",
			       version, CAISSON__AGENT__AGENT_CONSTANTS__AGENT_PROTOCOL_VERSION);
	return 0;
}

int agent_connect(struct shim *s, struct err *err)
{
	int fd = guest_connect(s, MACHINE_VSOCK_PORT_AGENT, err);

	if (fd < 0)
		return fd;
	s->agent = ttrpc_conn_new(s->loop, fd, NULL, on_close, s, err);
	if (!s->agent)
		return -(err->code ?: ENOMEM);
	return hello(s, err);
}

/* ---- the container ---- */

static Caisson__Agent__Stdio stdio_of(const uint64_t *tokens)
{
	Caisson__Agent__Stdio stdio = CAISSON__AGENT__STDIO__INIT;

	stdio.stdin_token = tokens[0];
	stdio.stdout_token = tokens[1];
	stdio.stderr_token = tokens[2];
	return stdio;
}

static void on_exit_status(const struct ttrpc_result *result, void *arg)
{
	struct shim *s = arg;
	int status = agent_wait_status(result, NULL);

	oom_note(s, agent_oom_kills(result, true));
	if (status >= 0)
		end_on_exit(s, status);
	else if (result->code != TTRPC_UNAVAILABLE)
		end_guest_failed(s, "the agent cannot say how the container ended");
}

static int create_call(struct shim *s, Caisson__Agent__CreateRequest *request, struct err *err)
{
	struct waited w;
	int r = call_wait(s, "Create", request, "creating the container", &w, err);

	if (r < 0)
		return r;
	s->container_exists = true;
	r = agent_wait(s, "", on_exit_status, s);
	if (r < 0)
		return err_sys(err, -r, "waiting for the container");
	return 0;
}

static Caisson__Agent__Seccomp seccomp_of(const struct monitor_args *args)
{
	Caisson__Agent__Seccomp seccomp = CAISSON__AGENT__SECCOMP__INIT;

	seccomp.program = (ProtobufCBinaryData){
		.len = args->seccomp_len * sizeof(*args->seccomp),
		.data = (uint8_t *)args->seccomp,
	};
	seccomp.flags = args->seccomp_flags;
	return seccomp;
}

int agent_create(struct shim *s, struct err *err)
{
	Caisson__Agent__CreateRequest request = CAISSON__AGENT__CREATE_REQUEST__INIT;
	Caisson__Agent__Stdio stdio = stdio_of(s->stdio.tokens);
	Caisson__Agent__Seccomp seccomp = seccomp_of(s->args);
	unsigned int n = s->exports->nbinds;
	cleanup_free Caisson__Agent__MountSource *sources = calloc(n + 1, sizeof(*sources));
	cleanup_free Caisson__Agent__MountSource **list = calloc(n + 1, sizeof(*list));
	int r;

	if (!sources || !list)
		return err_sys(err, ENOMEM, "creating the container");
	for (unsigned int i = 0; i < n; i++) {
		caisson__agent__mount_source__init(&sources[i]);
		sources[i].mount_index = s->exports->binds[i].mount_index;
		sources[i].export_id = s->exports->binds[i].export_id;
		sources[i].directory = s->exports->binds[i].directory;
		list[i] = &sources[i];
	}
	request.id = (char *)s->args->id;
	request.config = (ProtobufCBinaryData){.len = s->args->config_len,
					       .data = (uint8_t *)s->args->config_text};
	request.root_export_id = s->exports->items[0].id;
	request.n_mount_sources = n;
	request.mount_sources = list;
	request.stdio = &stdio;
	request.bundle = (char *)s->args->bundle;
	request.seccomp = s->args->seccomp ? &seccomp : NULL;
	r = create_call(s, &request, err);
	s->about_program = r == -ENOENT || r == -EACCES;
	return r;
}

int agent_start(struct shim *s, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__StartRequest request = CAISSON__AGENT__START_REQUEST__INIT;

	request.id = (char *)s->args->id;
	return call(s, "Start", &request, on_result, arg);
}

int agent_signal(struct shim *s, const char *exec_id, uint32_t signo, bool all,
		 ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__SignalRequest request = CAISSON__AGENT__SIGNAL_REQUEST__INIT;

	request.id = (char *)s->args->id;
	request.exec_id = (char *)exec_id;
	request.signal = signo;
	request.all = all;
	return call(s, "Signal", &request, on_result, arg);
}

int agent_resize(struct shim *s, const char *exec_id, uint32_t rows, uint32_t columns)
{
	Caisson__Agent__ResizeRequest request = CAISSON__AGENT__RESIZE_REQUEST__INIT;

	request.id = (char *)s->args->id;
	request.exec_id = (char *)exec_id;
	request.rows = rows;
	request.columns = columns;
	return call(s, "Resize", &request, NULL, NULL);
}

int agent_exec(struct shim *s, const struct agent_exec *exec, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__ExecRequest request = CAISSON__AGENT__EXEC_REQUEST__INIT;
	Caisson__Agent__Stdio stdio = stdio_of(exec->tokens);

	request.id = (char *)s->args->id;
	request.exec_id = (char *)exec->exec_id;
	request.process = (ProtobufCBinaryData){.len = exec->process_len,
						.data = (uint8_t *)exec->process};
	request.stdio = &stdio;
	request.cgroup = (char *)exec->cgroup;
	return call(s, "Exec", &request, on_result, arg);
}

int agent_exec_pid(const struct ttrpc_result *result)
{
	Caisson__Agent__ExecResponse *response;
	int pid;

	if (result->code != TTRPC_OK || result->len > AGENT_ANSWER_MAX)
		return -1;
	response = caisson__agent__exec_response__unpack(NULL, result->len, result->payload);
	if (!response)
		return -1;
	pid = response->pid > 0 ? response->pid : -1;
	caisson__agent__exec_response__free_unpacked(response, NULL);
	return pid;
}

static int by_exec_id(struct shim *s, const char *method, const char *exec_id,
		      ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__ProcessRequest request = CAISSON__AGENT__PROCESS_REQUEST__INIT;

	request.id = (char *)s->args->id;
	request.exec_id = (char *)exec_id;
	return call(s, method, &request, on_result, arg);
}

int agent_wait(struct shim *s, const char *exec_id, ttrpc_on_result *on_result, void *arg)
{
	return by_exec_id(s, "Wait", exec_id, on_result, arg);
}

int agent_delete(struct shim *s, const char *exec_id)
{
	return by_exec_id(s, "Delete", exec_id, NULL, NULL);
}

int agent_wait_status(const struct ttrpc_result *result, uint64_t output_bytes[2])
{
	Caisson__Agent__WaitResponse *response;
	int status = -1;

	if (result->code != TTRPC_OK || result->len > AGENT_ANSWER_MAX)
		return -1;
	response = caisson__agent__wait_response__unpack(NULL, result->len, result->payload);
	if (!response)
		return -1;
	if (response->signal > 0 && response->signal <= CONTROL_SIGNAL_MAX)
		status = 128 + (int)response->signal;
	else if (!response->signal && response->exit_code <= 255)
		status = (int)response->exit_code;
	if (output_bytes) {
		output_bytes[0] = response->stdout_bytes;
		output_bytes[1] = response->stderr_bytes;
	}
	caisson__agent__wait_response__free_unpacked(response, NULL);
	return status;
}

int agent_update(struct shim *s, const uint8_t *resources, size_t len, ttrpc_on_result *on_result,
		 void *arg)
{
	Caisson__Agent__UpdateRequest request = CAISSON__AGENT__UPDATE_REQUEST__INIT;

	request.id = (char *)s->args->id;
	request.resources = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)resources};
	return call(s, "Update", &request, on_result, arg);
}

int agent_grow_memory(struct shim *s, uint64_t bytes, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__GrowMemoryRequest request = CAISSON__AGENT__GROW_MEMORY_REQUEST__INIT;

	request.bytes = bytes;
	return call(s, "GrowMemory", &request, on_result, arg);
}

int agent_ask(struct shim *s, const char *method, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__ContainerRequest request = CAISSON__AGENT__CONTAINER_REQUEST__INIT;

	request.id = (char *)s->args->id;
	return call(s, method, &request, on_result, arg);
}

int agent_wait_oom(struct shim *s, uint64_t seen, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__WaitOomRequest request = CAISSON__AGENT__WAIT_OOM_REQUEST__INIT;

	request.id = (char *)s->args->id;
	request.seen = seen;
	return call(s, "WaitOom", &request, on_result, arg);
}

uint64_t agent_oom_kills(const struct ttrpc_result *result, bool of_wait)
{
	uint64_t kills = 0;

	if (result->code != TTRPC_OK || result->len > AGENT_ANSWER_MAX)
		return 0;
	if (of_wait) {
		Caisson__Agent__WaitResponse *response = caisson__agent__wait_response__unpack(
			NULL, result->len, result->payload);

		kills = response ? response->oom_kills : 0;
		caisson__agent__wait_response__free_unpacked(response, NULL);
	} else {
		Caisson__Agent__WaitOomResponse *response =
			caisson__agent__wait_oom_response__unpack(NULL, result->len,
								  result->payload);

		kills = response ? response->kills : 0;
		caisson__agent__wait_oom_response__free_unpacked(response, NULL);
	}
	return kills;
}

int agent_set_network(struct shim *s, const uint8_t *packed, size_t len, ttrpc_on_result *on_result,
		      void *arg)
{
	Caisson__Agent__SetNetworkRequest *request = caisson__agent__set_network_request__unpack(
		NULL, len, packed);
	int r;

	if (!request)
		return -ENOMEM;
	r = call(s, "SetNetwork", request, on_result, arg);
	caisson__agent__set_network_request__free_unpacked(request, NULL);
	return r;
}

int agent_relay_socket(struct shim *s, const struct agent_socket *socket,
		       ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__RelaySocketRequest request = CAISSON__AGENT__RELAY_SOCKET_REQUEST__INIT;

	request.socket = socket->id;
	request.export_id = socket->export_id;
	request.datagram = socket->datagram;
	request.stop = socket->stop;
	return call(s, "RelaySocket", &request, on_result, arg);
}

int agent_ping(struct shim *s, ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;

	return call(s, "Ping", &empty, on_result, arg);
}

int agent_shutdown(struct shim *s)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;

	return call(s, "Shutdown", &empty, NULL, NULL);
}
