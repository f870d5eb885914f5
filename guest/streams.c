/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of streams that wait for their request, and of requests that wait for their stream.
 *
 *   accept ─▶ reading hello ─▶ greeted ─▶ claimed: the socket is handed over, the entry freed
 *                 │ broken, closed, 30 s │
 *                 └──────────▶ closed ◀──┘
 *
 * Never reads past the hello: what follows belongs to the process. One timer serves all deadlines and runs only while
 * something waits.
 *
 * A stream that the host has closed already may still be claimed, for the input in it or just for its end, so it stays;
 * but when the table is full, the oldest such makes room for a new one.
 */
#include "guest/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define SWEEP_MS 5000
#define ACCEPT_BATCH 16

bool streams_peer_is_host(int fd)
{
	struct sockaddr_vm addr = {0};
	socklen_t len = sizeof(addr);

	return getpeername(fd, (struct sockaddr *)&addr, &len) == 0 && len >= sizeof(addr) &&
	       addr.svm_family == AF_VSOCK && addr.svm_cid == VMADDR_CID_HOST;
}

static void arm_timer(struct streams *streams)
{
	if (streams->timer_armed || (!streams->conns && !streams->waiters))
		return;
	streams->timer_armed = loop_timer_arm(streams->loop, &streams->timer, SWEEP_MS) == 0;
}

static void unlink_conn(struct stream_conn *conn)
{
	struct stream_conn **p = &conn->streams->conns;

	while (*p != conn)
		p = &(*p)->next;
	*p = conn->next;
	conn->streams->nconns--;
	loop_del(&conn->source);
}

static void drop_conn(struct stream_conn *conn)
{
	unlink_conn(conn);
	(void)close(conn->source.fd);
	free(conn);
}

static void unlink_waiter(struct streams *streams, struct stream_waiter *waiter)
{
	struct stream_waiter **p = &streams->waiters;

	while (*p != waiter)
		p = &(*p)->next;
	*p = waiter->next;
	waiter->next = NULL;
	waiter->waiting = false;
}

static void hand_over(struct stream_conn *conn, struct stream_waiter *waiter)
{
	int fd = conn->source.fd;

	unlink_conn(conn);
	free(conn);
	waiter->on_stream(waiter, fd);
}

static void greet(struct stream_conn *conn)
{
	const struct machine_stream_hello *hello = &conn->hello;
	struct streams *streams = conn->streams;

	if (hello->magic != MACHINE_STREAM_MAGIC || hello->reserved || !hello->token) {
		log_warn("A stream begins with a broken hello, ignoring");
		drop_conn(conn);
		return;
	}
	conn->greeted = true;
	loop_del(&conn->source);
	for (struct stream_waiter *w = streams->waiters; w; w = w->next) {
		if (w->token == hello->token) {
			unlink_waiter(streams, w);
			hand_over(conn, w);
			return;
		}
	}
}

static void on_hello(struct loop_source *source, uint32_t events)
{
	struct stream_conn *conn = container_of(source, struct stream_conn, source);
	ssize_t n;

	(void)events;
	n = recv(source->fd, (char *)&conn->hello + conn->got, sizeof(conn->hello) - conn->got,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_conn(conn);
		return;
	}
	conn->got += (size_t)n;
	if (conn->got == sizeof(conn->hello))
		greet(conn);
}

/* Whether the host has closed all of it, not only its sending half: see lib/relay.c */
static bool is_abandoned(int fd)
{
	return send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	       errno != EINTR;
}

static void make_room(struct streams *streams)
{
	struct stream_conn *oldest = NULL;

	if (streams->nconns < STREAMS_PENDING_MAX)
		return;
	/* The newest are first */
	for (struct stream_conn *conn = streams->conns; conn; conn = conn->next) {
		if (is_abandoned(conn->source.fd))
			oldest = conn;
	}
	if (oldest)
		drop_conn(oldest);
}

static void add_conn(struct streams *streams, int fd)
{
	struct stream_conn *conn = NULL;

	if (!streams->vsock || streams_peer_is_host(fd))
		make_room(streams);
	if (streams->nconns < STREAMS_PENDING_MAX && (!streams->vsock || streams_peer_is_host(fd)))
		conn = calloc(1, sizeof(*conn));
	if (!conn) {
		(void)close(fd);
		return;
	}
	conn->source = (struct loop_source){.fd = fd, .on_event = on_hello};
	conn->streams = streams;
	conn->deadline_ms = io_now_ms() + STREAMS_TIMEOUT_MS;
	if (loop_add(streams->loop, &conn->source, EPOLLIN, NULL) < 0) {
		(void)close(fd);
		free(conn);
		return;
	}
	conn->next = streams->conns;
	streams->conns = conn;
	streams->nconns++;
	arm_timer(streams);
	/* The hello mostly arrives with the connection */
	on_hello(&conn->source, EPOLLIN);
}

static void on_accept(struct loop_source *source, uint32_t events)
{
	struct streams *streams = container_of(source, struct streams, listener);

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		add_conn(streams, fd);
	}
}

static void on_sweep(struct loop_timer *timer)
{
	struct streams *streams = container_of(timer, struct streams, timer);
	uint64_t now = io_now_ms();
	struct stream_waiter *w;

	streams->timer_armed = false;
	for (struct stream_conn *conn = streams->conns, *next; conn; conn = next) {
		next = conn->next;
		if (conn->deadline_ms <= now)
			drop_conn(conn);
	}
	/* A callback may change the list: start again after each */
	do {
		for (w = streams->waiters; w && w->deadline_ms > now;)
			w = w->next;
		if (w) {
			unlink_waiter(streams, w);
			w->on_stream(w, -1);
		}
	} while (w);
	arm_timer(streams);
}

int streams_init(struct streams *streams, struct loop *loop, int listen_fd, bool vsock,
		 struct err *err)
{
	*streams = (struct streams){.loop = loop, .vsock = vsock};
	streams->listener = (struct loop_source){.fd = listen_fd, .on_event = on_accept};
	streams->timer.on_expire = on_sweep;
	return loop_add(loop, &streams->listener, EPOLLIN, err);
}

void streams_claim(struct streams *streams, struct stream_waiter *waiter)
{
	for (struct stream_conn *conn = streams->conns; conn; conn = conn->next) {
		if (conn->greeted && conn->hello.token == waiter->token) {
			hand_over(conn, waiter);
			return;
		}
	}
	waiter->deadline_ms = io_now_ms() + STREAMS_TIMEOUT_MS;
	waiter->waiting = true;
	waiter->next = streams->waiters;
	streams->waiters = waiter;
	arm_timer(streams);
}

void streams_forget(struct streams *streams, struct stream_waiter *waiter)
{
	if (waiter->waiting)
		unlink_waiter(streams, waiter);
}
