/* SPDX-License-Identifier: Apache-2.0 */
/* Connections from the guest to sockets of the host: see shim/relays.h. */
#include "shim/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define SWEEP_MS 5000
#define BATCH 16 /* datagrams in one turn */

bool relay_hello_is_valid(const struct machine_relay_hello *hello, uint64_t token)
{
	if (hello->magic != MACHINE_RELAY_MAGIC || hello->token != token || !token)
		return false;
	switch (hello->kind) {
	case MACHINE_RELAY_DNS_UDP:
	case MACHINE_RELAY_DNS_TCP:
		return !hello->socket && !hello->reserved && !hello->uid && !hello->gid;
	case MACHINE_RELAY_UNIX:
		return hello->socket && !hello->reserved;
	default:
		return false;
	}
}

static void conn_free(struct relay_conn *conn)
{
	struct relays *relays = &conn->shim->relays;
	struct relay_conn **p = &relays->all;

	while (*p != conn)
		p = &(*p)->next;
	*p = conn->next;
	relays->n--;
	loop_del(&conn->source);
	if (conn->state == RELAY_CONNECTING || conn->state == RELAY_DATAGRAMS)
		close_fd(&conn->source.fd);
	duplex_stop(&conn->duplex);
	frames_stop(&conn->frames);
	close_fd(&conn->guest);
	free(conn);
}

/* ---- datagrams ---- */

/* @sender: NULL for this process, which is not to be seen by a program of the host that asks who root of a user namespace is */
static ssize_t send_as(int fd, const uint8_t *data, size_t len, const struct ucred *sender)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(*sender))];
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (sender) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(*sender)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_CREDENTIALS};
		memcpy(CMSG_DATA(&control.header), sender, sizeof(*sender));
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What there is no room for is lost. Return: 0 or -errno when nobody is there */
static int send_datagram(struct relay_conn *conn, const uint8_t *data, size_t len)
{
	/* The first error may be that of an earlier datagram, which nobody has heard */
	for (int i = 0; i < 3; i++) {
		if (send_as(conn->source.fd, data, len, conn->sender.pid ? &conn->sender : NULL) >=
			    0 ||
		    errno == EAGAIN || errno == EMSGSIZE || errno == EINTR || errno == ENOBUFS)
			return 0;
		/* A rootless monitor may be nobody else */
		if (errno == EPERM)
			conn->sender.pid = 0;
	}
	return -errno;
}

static bool on_frame(struct frames *frames, const uint8_t *data, size_t len)
{
	struct relay_conn *conn = container_of(frames, struct relay_conn, frames);

	conn->deadline_ms = io_now_ms() + RELAYS_DATAGRAM_IDLE_MS;
	if (send_datagram(conn, data, len) == 0 || conn->hello.kind != MACHINE_RELAY_UNIX)
		return true;
	/* Its program has gone: the agent's next connection finds that out */
	conn_free(conn);
	return false;
}

static void on_frames_end(struct frames *frames)
{
	conn_free(container_of(frames, struct relay_conn, frames));
}

static void on_datagram(struct loop_source *source, uint32_t events)
{
	static uint8_t data[FRAMES_MAX];
	struct relay_conn *conn = container_of(source, struct relay_conn, source);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = recv(source->fd, data, sizeof(data), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0)
			continue; /* nobody was there: read, and gone */
		conn->deadline_ms = io_now_ms() + RELAYS_DATAGRAM_IDLE_MS;
		(void)frames_send(&conn->frames, data, (size_t)n);
	}
}

/* @fd: owned. Return: false when the connection is gone */
static bool start_datagrams(struct relay_conn *conn, int fd)
{
	conn->state = RELAY_DATAGRAMS;
	conn->deadline_ms = io_now_ms() + RELAYS_DATAGRAM_IDLE_MS;
	conn->source = (struct loop_source){.fd = fd, .on_event = on_datagram};
	conn->frames.on_frame = on_frame;
	conn->frames.on_end = on_frames_end;
	return loop_add(conn->shim->loop, &conn->source, EPOLLIN, NULL) == 0 &&
	       frames_start(&conn->frames, conn->shim->loop, take_fd(&conn->guest), NULL) == 0;
}

/* ---- streams ---- */

static void on_done(struct duplex *duplex)
{
	conn_free(container_of(duplex, struct relay_conn, duplex));
}

static void on_connected(struct loop_source *source, uint32_t events)
{
	struct relay_conn *conn = container_of(source, struct relay_conn, source);
	int error = 0, fd = source->fd;
	socklen_t len = sizeof(error);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		conn_free(conn);
		return;
	}
	loop_del(source);
	source->fd = -1;
	conn->state = RELAY_STREAM;
	if (duplex_start(&conn->duplex, conn->shim->loop, take_fd(&conn->guest), fd, on_done,
			 NULL) < 0)
		conn_free(conn);
}

static bool start_stream(struct relay_conn *conn, int fd)
{
	conn->state = RELAY_CONNECTING;
	conn->deadline_ms = io_now_ms() + RELAYS_CONNECT_TIMEOUT_MS;
	conn->source = (struct loop_source){.fd = fd, .on_event = on_connected};
	return loop_add(conn->shim->loop, &conn->source, EPOLLOUT, NULL) == 0;
}

/* ---- kinds ---- */

/* The one address: nothing of it is the guest's word */
static bool start_dns(struct relay_conn *conn, int type)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(MACHINE_RESOLVER_ADDRESS),
					 .sin_port = htons(MACHINE_RESOLVER_PORT)};
	cleanup_close int fd = -1;

	if (!conn->shim->network.followed || !conn->shim->network.state.resolver)
		return false;
	fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS))
		return false;
	return type == SOCK_DGRAM ? start_datagrams(conn, take_fd(&fd))
				  : start_stream(conn, take_fd(&fd));
}

static bool start_unix(struct relay_conn *conn)
{
	struct socket_kind kind;
	int fd = sockets_connect(conn->shim, conn->hello.socket, conn->hello.uid, conn->hello.gid,
				 &kind);

	if (fd < 0)
		return false;
	conn->sender = kind.sender;
	return kind.datagram ? start_datagrams(conn, fd) : start_stream(conn, fd);
}

static void on_greeted(struct relay_conn *conn)
{
	static struct log_ratelimit limit;
	bool ok = false;

	loop_del(&conn->source);
	if (!relay_hello_is_valid(&conn->hello, conn->shim->relays.token))
		log_guest_warn(&limit, "A program of the guest connected to the relays' port, "
				       "ignoring");
	else if (conn->hello.kind == MACHINE_RELAY_UNIX)
		ok = start_unix(conn);
	else if (conn->hello.kind == MACHINE_RELAY_DNS_UDP)
		ok = start_dns(conn, SOCK_DGRAM);
	else
		ok = start_dns(conn, SOCK_STREAM);
	if (!ok)
		conn_free(conn);
}

/* Never past the hello: what follows is for the other side */
static void on_hello(struct loop_source *source, uint32_t events)
{
	struct relay_conn *conn = container_of(source, struct relay_conn, source);
	ssize_t n = recv(source->fd, (char *)&conn->hello + conn->got,
			 sizeof(conn->hello) - conn->got, MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_free(conn);
		return;
	}
	conn->got += (size_t)n;
	if (conn->got == sizeof(conn->hello))
		on_greeted(conn);
}

/* ---- all of them ---- */

static void arm_timer(struct shim *s)
{
	if (!s->relays.timer_armed && s->relays.all)
		s->relays.timer_armed = loop_timer_arm(s->loop, &s->relays.timer, SWEEP_MS) == 0;
}

static void on_sweep(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, relays.timer);
	uint64_t now = io_now_ms();

	s->relays.timer_armed = false;
	for (struct relay_conn *conn = s->relays.all, *next; conn; conn = next) {
		next = conn->next;
		if (conn->state != RELAY_STREAM && conn->deadline_ms <= now)
			conn_free(conn);
	}
	arm_timer(s);
}

void relays_accept(struct shim *s, int fd)
{
	cleanup_close int owned = fd;
	struct relay_conn *conn;

	if (fd < 0 || s->relays.n >= RELAYS_MAX)
		return;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return;
	conn->shim = s;
	conn->deadline_ms = io_now_ms() + RELAYS_HELLO_TIMEOUT_MS;
	conn->source = (struct loop_source){.fd = fd, .on_event = on_hello};
	conn->guest = take_fd(&owned);
	conn->next = s->relays.all;
	s->relays.all = conn;
	s->relays.n++;
	if (loop_add(s->loop, &conn->source, EPOLLIN, NULL) < 0) {
		conn_free(conn);
		return;
	}
	arm_timer(s);
}

int relays_open(struct shim *s, struct err *err)
{
	s->relays.timer.on_expire = on_sweep;
	while (!s->relays.token) {
		if (getrandom(&s->relays.token, sizeof(s->relays.token), 0) < 0)
			return err_sys(err, errno, "a token for the agent");
	}
	return 0;
}

void relays_release(struct shim *s)
{
	while (s->relays.all)
		conn_free(s->relays.all);
	loop_timer_release(&s->relays.timer);
}
