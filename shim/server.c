/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: what the short commands ask of the monitor (shim/protocol.h), and the processes of `exec`.
 *
 * One struct client per connection:
 *
 *   NEW ──request──▶ WAITING ──the agent's answer──▶ reply, closed         START, SIGNAL, UPDATE
 *    │                  └──────EXEC──────▶ EXEC ──RESIZE, SIGNAL──▶ …      stays until the stand-in closes
 *    ├── EVENTS ──▶ EVENTS                                               stays until the container ends (inspect.c)
 *    └── PING, STOP, errors: replied to and closed at once
 *
 * A connection that closes before its exec'd process has ended kills that process: the stand-in was killed, and it
 * stands for it. The output of an exec goes to the stand-in over its own streams and never through here, so no client
 * can hold up another; a client whose reply does not fit into its socket is dropped.
 *
 * The peer must be root or this process's own user. At most SHIM_CLIENTS_MAX connections; more are told so and closed, and so is
 * who says nothing for SHIM_CLIENT_IDLE_MS. Without a descriptor left for a connection the listener, which would be ready for
 * ever, is not looked at until one has been closed, or for SHIM_LISTEN_AGAIN_MS. One timer serves both.
 */
#include "shim/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

struct handler {
	enum client_state state;
	void (*handle)(struct client *client, const struct control_request *request, int fd);
};

/* ---- clients ---- */

static void arm_timer(struct shim *s)
{
	(void)loop_timer_arm(s->loop, &s->server_timer, SHIM_LISTEN_AGAIN_MS);
}

static void listen_again(struct shim *s)
{
	if (s->listener_paused)
		loop_mod(&s->listener, EPOLLIN);
	s->listener_paused = false;
}

static void client_free(struct client *c)
{
	struct shim *s = c->shim;

	if (c->prev)
		c->prev->next = c->next;
	else
		c->shim->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->shim->nclients--;
	loop_del(&c->source);
	close_fd(&c->source.fd);
	for (int i = 0; i < 3; i++)
		close_fd(&c->streams[i]);
	free(c);
	listen_again(s);
}

void client_close(struct client *c)
{
	struct shim *s = c->shim;

	if (c->source.fd >= 0) {
		loop_del(&c->source);
		close_fd(&c->source.fd);
		if (c->exec_running && !c->exec_ended)
			(void)agent_signal(s, c->exec_id, 9, false, NULL, NULL);
		else if (c->exec_running)
			(void)agent_delete(s, c->exec_id);
	}
	if (c->calls)
		return;
	client_free(c);
	end_check(s);
}

static void client_call_done(struct client *c)
{
	c->calls--;
	if (c->source.fd < 0)
		client_close(c);
}

bool client_send(struct client *c, const struct client_reply *args)
{
	struct control_reply reply = {
		.magic = CONTROL_MAGIC,
		.version = CONTROL_VERSION,
		.type = args->type,
		.code = args->code,
		.guest_pid = args->guest_pid,
		.output_bytes = {args->output_bytes[0], args->output_bytes[1]},
		.payload_len = args->payload_len,
	};

	if (c->source.fd < 0)
		return false;
	snprintf(reply.text, sizeof(reply.text), "%s", args->text ?: "");
	return io_send_fds(c->source.fd, &reply, sizeof(reply), args->fds, args->nfds) == 0;
}

void client_finish(struct client *c, int code, const struct err *err)
{
	(void)client_send(c, &(struct client_reply){.type = CONTROL_REPLY_DONE,
						    .code = code,
						    .text = code ? err->msg : ""});
	client_close(c);
}

void client_refuse(struct client *c, int code, const char *fmt, ...)
{
	struct err err = {.code = code};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	client_finish(c, -code, &err);
}

/* ---- requests that the agent answers ---- */

void client_on_answer(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;
	struct err err = {0};
	int r = agent_error(result, &err);

	c->calls--;
	client_finish(c, r, &err);
}

void client_wait(struct client *c, int r)
{
	if (r == -EBUSY) {
		/* Not to be taken for the word on a container that has just ended */
		client_refuse(c, ENOBUFS, "too many requests are waiting for the guest");
		return;
	}
	if (r < 0) {
		client_refuse(c, -r, "asking the agent: %s", err_reason(-r));
		return;
	}
	c->calls++;
	c->state = CLIENT_WAITING;
	loop_mod(&c->source, 0);
}

static void handle_ping(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	client_finish(c, 0, NULL);
}

/* From here on the container is running, whatever becomes of the command that asked for it */
static void note_started(struct shim *s)
{
	cleanup_close int fd = openat(s->state_fd, CONTROL_STARTED_NAME,
				      O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		log_warn("The state directory cannot say that the container runs: %s",
			 err_reason(errno));
}

static void on_started(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;

	if (result->code == TTRPC_OK)
		note_started(c->shim);
	client_on_answer(result, arg);
}

static void on_network(struct shim *s, const struct err *err, void *arg)
{
	struct client *c = arg;

	c->calls--;
	if (c->source.fd < 0)
		client_close(c);
	else if (err->code)
		client_finish(c, -err->code, err);
	else
		client_wait(c, agent_start(s, on_started, c));
}

/* What engines have put into the network namespace until now, the program finds from its first instruction on */
static void handle_start(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	client_wait(c, 0);
	if (network_settle(c->shim, on_network, c) < 0) {
		c->calls--;
		client_refuse(c, EBUSY, "the container is being started");
	}
}

/* As with runc, what was killed does not stay paused */
static void on_killed(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;

	if (result->code == TTRPC_OK)
		pause_end(c->shim);
	client_on_answer(result, arg);
}

static void handle_signal(struct client *c, const struct control_request *request, int fd)
{
	bool all = request->flags & CONTROL_SIGNAL_ALL;

	(void)fd;
	client_wait(c, agent_signal(c->shim, "", request->args[0], all,
				    request->args[0] == SIGKILL ? on_killed : client_on_answer, c));
}

static void handle_stop(struct client *c, const struct control_request *request, int fd)
{
	struct shim *s = c->shim;

	(void)request;
	(void)fd;
	client_finish(c, 0, NULL);
	end_on_stop(s);
}

/* A document, copied out of the client's memfd once */
static int read_document(int fd, size_t len, uint8_t **out)
{
	cleanup_free uint8_t *document = malloc(len);
	struct stat st;
	ssize_t n;

	if (!document)
		return -ENOMEM;
	/* Nothing that a read could wait for */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < len)
		return -EINVAL;
	n = pread(fd, document, len, 0);
	if (n < 0 || (size_t)n != len)
		return -EIO;
	*out = take_ptr(&document);
	return 0;
}

static void handle_update(struct client *c, const struct control_request *request, int fd)
{
	cleanup_free uint8_t *resources = NULL;
	int r = read_document(fd, request->payload_len, &resources);

	if (r < 0)
		client_refuse(c, -r, "control request update: reading the resources: %s",
			      err_reason(-r));
	else
		client_wait(c, agent_update(c->shim, resources, request->payload_len,
					    client_on_answer, c));
}

/* ---- exec ---- */

static void exec_signal(struct client *c, const struct control_request *request, int fd)
{
	(void)fd;
	if (!c->exec_ended)
		(void)agent_signal(c->shim, c->exec_id, request->args[0],
				   request->flags & CONTROL_SIGNAL_ALL, NULL, NULL);
}

static void exec_resize(struct client *c, const struct control_request *request, int fd)
{
	(void)fd;
	if (!c->exec_ended)
		(void)agent_resize(c->shim, c->exec_id, request->args[0], request->args[1]);
}

static void on_exec_ended(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;
	struct client_reply reply = {.type = CONTROL_REPLY_EXIT};

	reply.code = agent_wait_status(result, reply.output_bytes);

	c->exec_ended = true;
	if (c->source.fd < 0) {
		/* Nobody waits any more: the stand-in was killed */
		(void)agent_delete(c->shim, c->exec_id);
		client_call_done(c);
		return;
	}
	c->calls--;
	/* Without a status the connection ends without one: the stand-in knows what that means */
	if (reply.code < 0 || !client_send(c, &reply))
		client_close(c);
}

static void on_exec_started(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;
	struct err err = {0};
	int r = agent_error(result, &err), pid = agent_exec_pid(result);

	c->calls--;
	if (r == 0 && pid < 0)
		r = err_set(&err, EPROTO, "the agent gave an answer that is none");
	if (r < 0) {
		client_finish(c, r, &err);
		return;
	}
	c->exec_running = true;
	if (agent_wait(c->shim, c->exec_id, on_exec_ended, c) < 0) {
		(void)agent_signal(c->shim, c->exec_id, 9, false, NULL, NULL);
		client_refuse(c, EIO, "the guest is gone");
		return;
	}
	c->calls++;
	r = client_send(c, &(struct client_reply){.type = CONTROL_REPLY_DONE,
						  .guest_pid = pid,
						  .fds = c->streams,
						  .nfds = c->nstreams});
	for (int i = 0; i < 3; i++)
		close_fd(&c->streams[i]);
	if (!r) {
		if (c->source.fd < 0)
			(void)agent_signal(c->shim, c->exec_id, 9, false, NULL, NULL);
		client_close(c);
		return;
	}
	c->state = CLIENT_EXEC;
	loop_mod(&c->source, EPOLLIN);
}

static bool exec_id_in_use(const struct shim *s, const struct client *self)
{
	for (const struct client *c = s->clients; c; c = c->next)
		if (c != self && c->is_exec && !strcmp(c->exec_id, self->exec_id))
			return true;
	return false;
}

static int exec_begin(struct client *c, const struct control_request *request, int fd,
		      struct err *err)
{
	struct shim *s = c->shim;
	cleanup_free uint8_t *process = NULL;
	uint64_t tokens[3] = {0};
	struct agent_exec exec = {
		.exec_id = c->exec_id,
		.process_len = request->payload_len,
		.tokens = tokens,
		.cgroup = request->cgroup,
	};
	int r;

	r = read_document(fd, request->payload_len, &process);
	if (r < 0)
		return err_sys(err, -r, "control request exec: reading the process");
	exec.process = process;
	if (request->exec_id[0])
		memcpy(c->exec_id, request->exec_id, sizeof(c->exec_id));
	else
		snprintf(c->exec_id, sizeof(c->exec_id), "exec-%u", ++s->exec_counter);
	if (exec_id_in_use(s, c))
		return err_set(err, EEXIST, "exec id '%s' is in use", c->exec_id);
	c->is_exec = true;
	c->standin = (pid_t)request->args[0];
	c->nstreams = request->flags & CONTROL_EXEC_TERMINAL ? 1 : 3;
	for (unsigned int i = 0; i < c->nstreams; i++) {
		c->streams[i] = stream_open(s, &tokens[c->nstreams == 1 ? STREAM_TERMINAL : i],
					    err);
		if (c->streams[i] < 0)
			return c->streams[i];
	}
	r = agent_exec(s, &exec, on_exec_started, c);
	return r < 0 ? err_sys(err, -r, "asking the agent") : 0;
}

static void handle_exec(struct client *c, const struct control_request *request, int fd)
{
	struct err err = {0};
	int r;

	if (c->shim->phase != SHIM_SERVING) {
		client_refuse(c, ESRCH, "container not running");
		return;
	}
	if (c->shim->paused && !(request->flags & CONTROL_EXEC_IGNORE_PAUSED)) {
		client_refuse(
			c, EBUSY,
			"cannot exec in a paused container (use --ignore-paused to override)");
		return;
	}
	r = exec_begin(c, request, fd, &err);
	if (r < 0) {
		text_clean(err.msg);
		client_finish(c, r, &err);
		return;
	}
	client_wait(c, 0);
}

/* ---- the protocol's table: what is allowed when ---- */

static const struct handler handlers[CONTROL_TYPE_END] = {
	[CONTROL_PING] = {CLIENT_NEW, handle_ping},
	[CONTROL_START] = {CLIENT_NEW, handle_start},
	[CONTROL_SIGNAL] = {CLIENT_NEW, handle_signal}, /* and in EXEC, see handle() */
	[CONTROL_STOP] = {CLIENT_NEW, handle_stop},
	[CONTROL_EXEC] = {CLIENT_NEW, handle_exec},
	[CONTROL_RESIZE] = {CLIENT_EXEC, exec_resize},
	[CONTROL_UPDATE] = {CLIENT_NEW, handle_update},
	[CONTROL_PAUSE] = {CLIENT_NEW, handle_pause},
	[CONTROL_RESUME] = {CLIENT_NEW, handle_resume},
	[CONTROL_PIDS] = {CLIENT_NEW, handle_pids},
	[CONTROL_PROCESSES] = {CLIENT_NEW, handle_processes},
	[CONTROL_STATS] = {CLIENT_NEW, handle_stats},
	[CONTROL_EVENTS] = {CLIENT_NEW, handle_events},
	[CONTROL_GROW_MEMORY] = {CLIENT_NEW, handle_grow_memory},
};

static void handle(struct client *c, const struct control_request *request, int fd)
{
	const struct handler *handler = &handlers[request->type];

	if (c->state == CLIENT_EXEC && request->type == CONTROL_SIGNAL) {
		exec_signal(c, request, fd);
	} else if (c->state != handler->state) {
		client_refuse(c, EPROTO, "control request %s: not now",
			      control_type_name(request->type));
	} else {
		log_debug("Control: %s", control_type_name(request->type));
		handler->handle(c, request, fd);
	}
}

static void on_client(struct loop_source *source, uint32_t events)
{
	struct client *c = container_of(source, struct client, source);
	struct control_request request = {0};
	cleanup_close int fd = -1;
	struct err err = {0};
	size_t nfds = 0;
	ssize_t n;
	int r;

	if (!(events & EPOLLIN) || c->state == CLIENT_WAITING) {
		client_close(c);
		return;
	}
	n = io_recv_fds(source->fd, &request, sizeof(request), &fd, 1, &nfds);
	if (n == -EAGAIN)
		return;
	if (n == -EMSGSIZE) {
		client_refuse(c, EPROTO, "control request is too long");
		return;
	}
	if (n <= 0) {
		client_close(c);
		return;
	}
	r = control_request_check(&request, (size_t)n, nfds, &err);
	if (r < 0)
		client_finish(c, r, &err);
	else
		handle(c, &request, fd);
}

/* ---- the listener ---- */

static bool peer_is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void client_new(struct shim *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close_fd(&fd);
		return;
	}
	*c = (struct client){.shim = s, .next = s->clients, .streams = {-1, -1, -1}};
	c->since_ms = io_now_ms();
	c->source = (struct loop_source){.fd = fd, .on_event = on_client};
	if (s->clients)
		s->clients->prev = c;
	s->clients = c;
	s->nclients++;
	if (!peer_is_allowed(fd))
		client_close(c);
	else if (s->nclients > SHIM_CLIENTS_MAX)
		client_refuse(c, ENOBUFS, "more than %d requests at once", SHIM_CLIENTS_MAX);
	else if (loop_add(s->loop, &c->source, EPOLLIN, NULL) < 0)
		client_close(c);
	else
		arm_timer(s);
}

static void on_server_timer(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, server_timer);
	uint64_t now = io_now_ms();
	bool again = false;

	listen_again(s);
	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (c->state != CLIENT_NEW || c->source.fd < 0)
			continue;
		if (now - c->since_ms >= SHIM_CLIENT_IDLE_MS)
			client_refuse(c, ETIMEDOUT, "no request came within %d seconds",
				      SHIM_CLIENT_IDLE_MS / 1000);
		else
			again = true;
	}
	if (again)
		arm_timer(s);
}

static void on_listener(struct loop_source *source, uint32_t events)
{
	struct shim *s = container_of(source, struct shim, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		client_new(s, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_debug("Control: no room for a new connection: %s", err_reason(errno));
		s->listener_paused = true;
		loop_mod(source, 0);
		arm_timer(s);
	}
}

int server_open(struct shim *s, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	s->listener = (struct loop_source){.fd = -1, .on_event = on_listener};
	s->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener.fd < 0)
		return err_sys(err, errno, "the control socket");
	snprintf(address.sun_path, sizeof(address.sun_path),
		 "/proc/self/fd/%d/" CONTROL_SOCKET_NAME, s->state_fd);
	mask = umask(0177);
	r = bind(s->listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	return r < 0 ? err_sys(err, -r, "the control socket in the state directory") : 0;
}

int server_start(struct shim *s, struct err *err)
{
	int r;

	if (listen(s->listener.fd, SOMAXCONN) < 0)
		return err_sys(err, errno, "the control socket");
	/* Now, since it takes a descriptor that may not be left later */
	s->server_timer.on_expire = on_server_timer;
	r = loop_timer_arm(s->loop, &s->server_timer, SHIM_LISTEN_AGAIN_MS);
	if (r < 0)
		return err_sys(err, -r, "the control socket");
	return loop_add(s->loop, &s->listener, EPOLLIN, err);
}

bool server_has_execs(const struct shim *s)
{
	for (const struct client *c = s->clients; c; c = c->next)
		if (c->is_exec)
			return true;
	return false;
}

void server_release(struct shim *s)
{
	while (s->clients)
		client_free(s->clients);
	loop_timer_release(&s->server_timer);
	if (s->listener.fd >= 0) {
		(void)unlinkat(s->state_fd, CONTROL_SOCKET_NAME, 0);
		loop_del(&s->listener);
		close_fd(&s->listener.fd);
	}
}
