/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's side of the control socket (shim/protocol.h): one connection per request, blocking, with a deadline.
 *
 * A monitor that is not there (no socket, or nobody listens) is -ECONNREFUSED: the container is not running. One that has no
 * room answers and closes without reading: our send or first receive then fails although there is an answer, so only the end
 * of the connection means that there is none. What a monitor answers is checked before use, since its text may be a guest's.
 */
#include "shim/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/wire.h"

#define CONTROL_STOP_TIMEOUT_S 5 /* the monitor's own, at once */
#define CONTROL_SIGNAL_TIMEOUT_S \
	10 /* the agent answers at once, or not at all; who kills has no more patience */

int wire_connect(int state_fd, time_t timeout_s, struct err *err)
{
	const struct timeval timeout = {.tv_sec = timeout_s};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(err, errno, "the control socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return err_sys(err, errno, "the control socket");
	snprintf(address.sun_path, sizeof(address.sun_path),
		 "/proc/self/fd/%d/" CONTROL_SOCKET_NAME, state_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, ECONNREFUSED, "container not running");
		return err_sys(err, errno, "the control socket");
	}
	return take_fd(&fd);
}

int wire_ask(int sock, const struct control_request *request, const int *fds, size_t nfds,
	     struct err *err)
{
	int r = io_send_fds(sock, request, sizeof(*request), fds, nfds);

	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return err_sys(err, -r, "asking the monitor");
	return 0;
}

int wire_receive(int sock, struct control_reply *reply, int *fds, size_t max_fds, size_t *nfds,
		 struct err *err)
{
	ssize_t n = io_recv_fds(sock, reply, sizeof(*reply), fds, max_fds, nfds);
	int r;

	if (n == -ECONNRESET) /* said once, before what is there to be read */
		n = io_recv_fds(sock, reply, sizeof(*reply), fds, max_fds, nfds);
	if (n == -EAGAIN)
		return err_set(err, ETIMEDOUT, "the monitor did not answer in time");
	if (n == 0 || n == -ECONNRESET)
		return err_set(err, ECONNREFUSED, "container not running");
	if (n < 0)
		return err_sys(err, (int)-n, "the monitor's answer");
	r = control_reply_check(reply, (size_t)n, err);
	if (r == 0 && reply->type == CONTROL_REPLY_DONE && reply->code < 0)
		r = err_set(err, -reply->code, "%s", reply->text);
	if (r < 0) {
		for (size_t i = 0; i < *nfds; i++)
			close_fd(&fds[i]);
		*nfds = 0;
	}
	return r;
}

int wire_request(int state_fd, const struct control_request *request, time_t timeout_s,
		 struct err *err)
{
	cleanup_close int sock = wire_connect(state_fd, timeout_s, err);
	struct control_reply reply;
	size_t nfds = 0;
	int r;

	if (sock < 0)
		return sock;
	r = wire_ask(sock, request, NULL, 0, err);
	if (r < 0)
		return r;
	return wire_receive(sock, &reply, NULL, 0, &nfds, err);
}

int control_start(int state_fd, bool has_hooks, struct err *err)
{
	struct control_request request;

	control_request_init(&request, CONTROL_START);
	return wire_request(state_fd, &request, has_hooks ? 0 : WIRE_TIMEOUT_S, err);
}

int control_signal(int state_fd, int signo, bool all, struct err *err)
{
	struct control_request request;
	int r;

	control_request_init(&request, CONTROL_SIGNAL);
	request.args[0] = (uint32_t)signo;
	request.flags = all ? CONTROL_SIGNAL_ALL : 0;
	r = wire_request(state_fd, &request, CONTROL_SIGNAL_TIMEOUT_S, err);
	/* The agent has no such process any more, it has just ended, or the guest went away meanwhile */
	if (r == -ENOENT || r == -EBUSY || r == -EPIPE)
		return err_set(err, ESRCH, "container not running");
	return r;
}

int control_stop(int state_fd, struct err *err)
{
	struct control_request request;

	control_request_init(&request, CONTROL_STOP);
	return wire_request(state_fd, &request, CONTROL_STOP_TIMEOUT_S, err);
}

/* A document as a memfd: it may be larger than a datagram */
static int document_memfd(const char *text, size_t len, const char *what, struct err *err)
{
	cleanup_close int fd = memfd_create("caisson-document", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(err, errno, "%s", what);
	r = io_write_full(fd, text, len);
	return r < 0 ? err_sys(err, -r, "%s", what) : take_fd(&fd);
}

int control_update(int state_fd, const char *json, size_t len, struct err *err)
{
	cleanup_close int sock = -1, memfd = -1;
	struct control_request request;
	struct control_reply reply;
	size_t nfds = 0;
	int r;

	control_request_init(&request, CONTROL_UPDATE);
	request.payload_len = (uint32_t)len;
	memfd = document_memfd(json, len, "the resources", err);
	if (memfd < 0)
		return memfd;
	sock = wire_connect(state_fd, WIRE_TIMEOUT_S, err);
	if (sock < 0)
		return sock;
	r = wire_ask(sock, &request, &memfd, 1, err);
	return r < 0 ? r : wire_receive(sock, &reply, NULL, 0, &nfds, err);
}

int control_grow_memory(int state_fd, uint64_t bytes, struct err *err)
{
	struct control_request request;

	control_request_init(&request, CONTROL_GROW_MEMORY);
	request.args[0] = (uint32_t)(bytes / CONTROL_MEMORY_UNIT);
	return wire_request(state_fd, &request, WIRE_TIMEOUT_S, err);
}

/* ---- exec ---- */

static int process_memfd(const struct oci_process *process, uint32_t *len, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n;

	n = oci_process_write(process, &text, err);
	if (n < 0)
		return (int)n;
	if (n > OCI_PROCESS_MAX)
		return err_set(err, E2BIG, "the process to execute takes more than %u bytes",
			       OCI_PROCESS_MAX);
	*len = (uint32_t)n;
	return document_memfd(text, (size_t)n, "the process to execute", err);
}

static int receive_exec(int sock, unsigned int nstreams, struct control_exec *out, struct err *err)
{
	struct control_reply reply;
	size_t nfds = 0;
	int fds[3] = {-1, -1, -1};
	int r = wire_receive(sock, &reply, fds, 3, &nfds, err);

	if (r < 0)
		return r;
	if (nfds != nstreams || reply.type != CONTROL_REPLY_DONE) {
		for (size_t i = 0; i < nfds; i++)
			close_fd(&fds[i]);
		return err_set(err, EPROTO, "the monitor gave %zu streams instead of %u", nfds,
			       nstreams);
	}
	out->control_fd = sock;
	out->guest_pid = reply.guest_pid;
	memcpy(out->streams, fds, sizeof(fds));
	return 0;
}

int control_exec(int state_fd, const struct control_exec_args *args, struct control_exec *out,
		 struct err *err)
{
	const struct timeval forever = {0};
	cleanup_close int sock = -1, memfd = -1;
	struct control_request request;
	int r;

	control_request_init(&request, CONTROL_EXEC);
	if (args->exec_id && strlen(args->exec_id) >= sizeof(request.exec_id))
		return err_set(err, EINVAL, "the exec id is longer than %zu bytes",
			       sizeof(request.exec_id) - 1);
	if (args->exec_id)
		strcpy(request.exec_id, args->exec_id);
	if (args->cgroup && strlen(args->cgroup) >= sizeof(request.cgroup))
		return err_set(err, EINVAL, "the cgroup's path is longer than %zu bytes",
			       sizeof(request.cgroup) - 1);
	if (args->cgroup)
		strcpy(request.cgroup, args->cgroup);
	request.args[0] = (uint32_t)getpid();
	request.flags = (args->process->terminal ? CONTROL_EXEC_TERMINAL : 0) |
			(args->ignore_paused ? CONTROL_EXEC_IGNORE_PAUSED : 0);
	memfd = process_memfd(args->process, &request.payload_len, err);
	if (memfd < 0)
		return memfd;
	/* In a paused container it begins when that is resumed */
	sock = wire_connect(state_fd, args->ignore_paused ? 0 : WIRE_TIMEOUT_S, err);
	if (sock < 0)
		return sock;
	r = wire_ask(sock, &request, &memfd, 1, err);
	if (r < 0)
		return r;
	r = receive_exec(sock, args->process->terminal ? 1 : 3, out, err);
	if (r < 0)
		return r;
	(void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	(void)take_fd(&sock);
	return 0;
}

static int send_exec(const struct control_exec *exec, const struct control_request *request)
{
	return io_send_fds(exec->control_fd, request, sizeof(*request), NULL, 0);
}

int control_exec_resize(const struct control_exec *exec, unsigned int rows, unsigned int columns)
{
	struct control_request request;

	control_request_init(&request, CONTROL_RESIZE);
	request.args[0] = rows;
	request.args[1] = columns;
	return send_exec(exec, &request);
}

int control_exec_signal(const struct control_exec *exec, int signo)
{
	struct control_request request;

	control_request_init(&request, CONTROL_SIGNAL);
	request.args[0] = (uint32_t)signo;
	return send_exec(exec, &request);
}

int control_exec_status(const struct control_exec *exec, uint64_t output_bytes[2])
{
	struct control_reply reply;
	size_t nfds = 0;
	struct err err;
	ssize_t n = io_recv_fds(exec->control_fd, &reply, sizeof(reply), NULL, 0, &nfds);

	if (n <= 0 || control_reply_check(&reply, (size_t)n, &err) < 0 ||
	    reply.type != CONTROL_REPLY_EXIT)
		return -EPIPE;
	output_bytes[0] = reply.output_bytes[0];
	output_bytes[1] = reply.output_bytes[1];
	return reply.code;
}

void control_exec_release(struct control_exec *exec)
{
	close_fd(&exec->control_fd);
	for (int i = 0; i < 3; i++)
		close_fd(&exec->streams[i]);
}
