/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc over a connected stream socket: see lib/ttrpc.h for the frame and the caps.
 *
 * Trust: the peer's bytes are hostile (the agent's guest may have been taken over). They pass one door, parse_frames():
 * header, then exactly that many bytes, then protobuf-c under an allocator with a budget in proportion to the
 * payload, because a few bytes on the wire (empty repeated fields, unknown fields) would otherwise become a hundred times
 * as much memory. Input is stored as it arrives, never as it is announced. Anything broken closes the connection.
 *
 * Who may be called when: callbacks (on_result, handle, on_close) run only from the loop, never from within ttrpc_call() or
 * ttrpc_reply(). These only queue bytes and try to send them; when that shows that the connection is lost, they shut the
 * socket down, which makes the loop report it (on_socket() → conn_fail()); answers that had arrived before are still read.
 *
 *            ┌── on_socket: read → parse_frames → request: handle()
 *   loop ────┤                                  → response: on_result()
 *            └── on_deadline: on_result(DEADLINE_EXCEEDED)
 *
 * Every callback may free the connection. Whoever runs callbacks holds a reference and looks at conn->closed afterwards;
 * the memory goes with the last reference. A received call outlives its connection: it belongs to whoever must answer.
 *
 * Timeouts: one timer per connection for the nearest deadline; at most TTRPC_CALLS_MAX calls, so lists are walked.
 */
#include "lib/ttrpc.h"

#include <errno.h>
#include <limits.h>
#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/ttrpc.pb-c.h"

#define HEADER_BYTES 10u
#define TYPE_REQUEST 1
#define TYPE_RESPONSE 2
#define READ_STEP 16384u     /* bytes per recv(2) */
#define READS_PER_EVENT 16   /* then others have their turn */
#define KEEP_BYTES 65536u    /* buffers larger than this are given back when empty */
#define STATUS_TEXT_MAX 4096 /* bytes of a status message that we send */
#define UNPACK_EXTRA_BYTES \
	65536u /* what decoding may take beyond the payload's own size, see unpack_budget() */
#define NS_PER_MS 1000000

/* A call of ours that waits for its answer */
struct pending {
	struct pending *next;
	uint32_t stream;
	uint64_t deadline_ms; /* 0: none */
	ttrpc_on_result *on_result;
	void *arg;
};

struct ttrpc_call {
	struct ttrpc_conn *conn; /* NULL when it is gone */
	struct ttrpc_call *next;
	uint32_t stream;
};

struct ttrpc_conn {
	struct loop *loop; /* borrowed */
	struct loop_source source;
	struct loop_timer deadline;
	const struct ttrpc_service *services; /* borrowed, may be NULL */
	void (*on_close)(struct ttrpc_conn *conn, void *arg);
	void *arg;
	unsigned int refs; /* the owner's, and one per dispatch under way */
	bool closed;	   /* nothing is sent, received or reported any more */
	bool lost;	   /* the socket was shut down; the loop will report it */
	bool parsing; /* on_socket is under way: a handler that steps the loop must not enter it again */
	struct buf in, out;
	size_t out_start;	 /* bytes of out that are sent already */
	struct pending *pending; /* oldest first, owned */
	size_t npending;
	struct ttrpc_call *calls; /* owned by whoever must answer; linked here to be cut off */
	size_t ncalls;
	uint32_t next_stream; /* of our next request: odd */
	uint32_t last_seen;   /* the peer's latest request: odd, increasing */
};

struct frame {
	uint32_t len, stream;
	uint8_t type, flags;
};

/* ---- decoding under a budget ---- */

static void *budget_alloc(void *data, size_t size)
{
	size_t *left = data;

	/* What malloc() adds counts, too */
	if (size > *left || *left - size < 2 * sizeof(void *))
		return NULL;
	*left -= size + 2 * sizeof(void *);
	return malloc(size);
}

static void budget_free(void *data, void *p)
{
	(void)data;
	free(p);
}

void *ttrpc_unpack_within(const void *descriptor, const uint8_t *payload, size_t len, size_t budget)
{
	ProtobufCAllocator allocator = {
		.alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};

	return protobuf_c_message_unpack(descriptor, &allocator, len, payload);
}

void *ttrpc_unpack(const void *descriptor, const uint8_t *payload, size_t len)
{
	size_t budget = len > SIZE_MAX / 4 ? 0 : 2 * len + UNPACK_EXTRA_BYTES;

	return ttrpc_unpack_within(descriptor, payload, len, budget);
}

void ttrpc_message_free(void *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- references and the end of a connection ---- */

static struct ttrpc_conn *conn_get(struct ttrpc_conn *conn)
{
	conn->refs++;
	return conn;
}

static void conn_put(struct ttrpc_conn *conn)
{
	if (--conn->refs > 0)
		return;
	buf_release(&conn->in);
	buf_release(&conn->out);
	free(conn);
}

/* Leaves the loop and cuts off the calls that were received; what we called stays pending */
static void conn_shut(struct ttrpc_conn *conn)
{
	conn->closed = true;
	loop_timer_release(&conn->deadline);
	loop_del(&conn->source);
	close_fd(&conn->source.fd);
	while (conn->calls) {
		struct ttrpc_call *call = conn->calls;

		conn->calls = call->next;
		call->conn = NULL;
		call->next = NULL;
	}
	conn->ncalls = 0;
}

static struct pending *pending_pop(struct ttrpc_conn *conn)
{
	struct pending *p = conn->pending;

	if (p) {
		conn->pending = p->next;
		conn->npending--;
	}
	return p;
}

static void complete(struct pending *p, enum ttrpc_code code, const char *message,
		     const uint8_t *payload, size_t len)
{
	struct ttrpc_result result = {
		.code = code, .message = message, .payload = payload, .len = len};

	if (p->on_result)
		p->on_result(&result, p->arg);
	free(p);
}

/* The peer is gone or broke the protocol. From the loop only */
static void conn_fail(struct ttrpc_conn *conn)
{
	struct pending *p;

	if (conn->closed)
		return;
	conn_get(conn);
	conn_shut(conn);
	while ((p = pending_pop(conn)))
		complete(p, TTRPC_UNAVAILABLE, "the connection was closed", NULL, 0);
	if (conn->on_close) {
		void (*on_close)(struct ttrpc_conn *, void *) = conn->on_close;

		conn->on_close = NULL;
		on_close(conn, conn->arg);
	}
	conn_put(conn);
}

void ttrpc_conn_free(struct ttrpc_conn *conn)
{
	if (!conn)
		return;
	conn->on_close = NULL;
	conn_shut(conn);
	for (struct pending *p = pending_pop(conn); p; p = pending_pop(conn))
		free(p);
	conn_put(conn);
}

/* The connection cannot go on; the loop will notice. May be called from anywhere */
static void conn_lose(struct ttrpc_conn *conn)
{
	if (conn->lost)
		return;
	conn->lost = true;
	(void)shutdown(conn->source.fd, SHUT_RDWR);
	loop_mod(&conn->source, EPOLLIN); /* readable: its end */
}

/* ---- sending ---- */

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void flush(struct ttrpc_conn *conn)
{
	while (conn->out_start < conn->out.len) {
		ssize_t n = send(conn->source.fd, conn->out.data + conn->out_start,
				 conn->out.len - conn->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0) {
			conn_lose(conn);
			return;
		}
		conn->out_start += (size_t)n;
	}
	if (conn->out_start == conn->out.len) {
		conn->out_start = 0;
		conn->out.len = 0;
		if (conn->out.cap > KEEP_BYTES)
			buf_release(&conn->out);
	}
	loop_mod(&conn->source, conn->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Packs a message behind a frame header and queues it; Return: 0, -ENOMEM or -EMSGSIZE, with nothing queued */
static int queue_frame(struct ttrpc_conn *conn, uint8_t type, uint32_t stream,
		       const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	cleanup_free uint8_t *frame = NULL;

	if (len > TTRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	frame = calloc(1, HEADER_BYTES + len);
	if (!frame)
		return -ENOMEM;
	put_be32(frame, (uint32_t)len);
	put_be32(frame + 4, stream);
	frame[8] = type;
	(void)protobuf_c_message_pack(message, frame + HEADER_BYTES);
	if (conn->out_start > conn->out.len / 2) {
		buf_consume(&conn->out, conn->out_start);
		conn->out_start = 0;
	}
	return buf_append(&conn->out, frame, HEADER_BYTES + len);
}

static bool output_is_full(const struct ttrpc_conn *conn, const ProtobufCMessage *message)
{
	return conn->out.len - conn->out_start + protobuf_c_message_get_packed_size(message) +
		       HEADER_BYTES >
	       TTRPC_OUTPUT_MAX;
}

static int send_frame(struct ttrpc_conn *conn, uint8_t type, uint32_t stream,
		      const ProtobufCMessage *message)
{
	int r;

	if (output_is_full(conn, message)) {
		conn_lose(conn);
		return -EPIPE;
	}
	r = queue_frame(conn, type, stream, message);
	if (r < 0)
		return r;
	flush(conn);
	return 0;
}

/* ---- server side ---- */

/* Takes the call off its connection and frees it; Return: the connection, or NULL when it is gone or lost */
static struct ttrpc_conn *call_finish(struct ttrpc_call *call, uint32_t *stream)
{
	struct ttrpc_conn *conn = call->conn;

	*stream = call->stream;
	if (conn) {
		struct ttrpc_call **at = &conn->calls;

		while (*at && *at != call)
			at = &(*at)->next;
		if (*at)
			*at = call->next;
		conn->ncalls--;
	}
	free(call);
	return conn && !conn->lost ? conn : NULL;
}

static void send_status(struct ttrpc_conn *conn, uint32_t stream, enum ttrpc_code code,
			const char *text)
{
	Caisson__Ttrpc__Status status = CAISSON__TTRPC__STATUS__INIT;
	Caisson__Ttrpc__Response response = CAISSON__TTRPC__RESPONSE__INIT;

	status.code = (int32_t)code;
	status.message = (char *)text;
	response.status = &status;
	if (send_frame(conn, TYPE_RESPONSE, stream, &response.base) < 0)
		conn_lose(conn); /* the caller would wait for ever */
}

void ttrpc_reply(struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Caisson__Ttrpc__Response response = CAISSON__TTRPC__RESPONSE__INIT;
	uint32_t stream;
	struct ttrpc_conn *conn = call_finish(call, &stream);
	int r;

	if (!conn)
		return;
	response.payload.data = (uint8_t *)payload;
	response.payload.len = len;
	r = send_frame(conn, TYPE_RESPONSE, stream, &response.base);
	if (r == -EMSGSIZE)
		send_status(conn, stream, TTRPC_RESOURCE_EXHAUSTED, "the answer is too large");
	else if (r < 0)
		conn_lose(conn);
}

void ttrpc_reply_message(struct ttrpc_call *call, const void *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	cleanup_free uint8_t *payload = malloc(len ? len : 1);

	if (!payload) {
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	(void)protobuf_c_message_pack(message, payload);
	ttrpc_reply(call, payload, len);
}

void ttrpc_reply_error(struct ttrpc_call *call, enum ttrpc_code code, const char *fmt, ...)
{
	char text[STATUS_TEXT_MAX];
	uint32_t stream;
	struct ttrpc_conn *conn = call_finish(call, &stream);
	va_list ap;

	if (!conn)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	send_status(conn, stream, code, text);
}

static const struct ttrpc_method *find_method(const struct ttrpc_conn *conn, const char *service,
					      const char *method, void **arg)
{
	for (const struct ttrpc_service *s = conn->services; s && s->name; s++) {
		if (strcmp(s->name, service) != 0)
			continue;
		for (const struct ttrpc_method *m = s->methods; m->name; m++) {
			if (strcmp(m->name, method) == 0) {
				*arg = s->arg;
				return m;
			}
		}
	}
	return NULL;
}

static void dispatch(struct ttrpc_conn *conn, struct ttrpc_call *call,
		     const Caisson__Ttrpc__Request *request)
{
	const struct ttrpc_method *method;
	void *arg = NULL;

	method = find_method(conn, request->service, request->method, &arg);
	if (!method)
		ttrpc_reply_error(call, TTRPC_UNIMPLEMENTED,
				  "no method '%.100s' in service '%.100s'", request->method,
				  request->service);
	else if (conn->ncalls > TTRPC_CALLS_MAX)
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED, "more than %u calls under way",
				  TTRPC_CALLS_MAX);
	else if (request->payload.len > method->request_max)
		ttrpc_reply_error(call, TTRPC_INVALID_ARGUMENT,
				  "the request of '%s' is longer than %zu bytes", method->name,
				  method->request_max);
	else
		method->handle(call, request->payload.data, request->payload.len, arg);
}

/* Return: 0, or -EPROTO/-ENOMEM when the connection must end */
static int on_request(struct ttrpc_conn *conn, const struct frame *frame, const uint8_t *payload)
{
	Caisson__Ttrpc__Request *request;
	struct ttrpc_call *call;

	if (frame->stream % 2 == 0 || frame->stream <= conn->last_seen)
		return -EPROTO;
	conn->last_seen = frame->stream;
	request = ttrpc_unpack(&caisson__ttrpc__request__descriptor, payload, frame->len);
	if (!request)
		return -EPROTO;
	call = calloc(1, sizeof(*call));
	if (!call) {
		ttrpc_message_free(request);
		return -ENOMEM;
	}
	call->conn = conn;
	call->stream = frame->stream;
	call->next = conn->calls;
	conn->calls = call;
	conn->ncalls++;
	dispatch(conn, call, request);
	ttrpc_message_free(request);
	return 0;
}

/* ---- client side ---- */

static uint64_t nearest_deadline(const struct ttrpc_conn *conn)
{
	uint64_t nearest = 0;

	for (const struct pending *p = conn->pending; p; p = p->next) {
		if (p->deadline_ms && (!nearest || p->deadline_ms < nearest))
			nearest = p->deadline_ms;
	}
	return nearest;
}

static int arm_deadline(struct ttrpc_conn *conn)
{
	uint64_t nearest = nearest_deadline(conn), now = io_now_ms();

	if (!nearest)
		return loop_timer_arm(conn->loop, &conn->deadline, 0);
	return loop_timer_arm(conn->loop, &conn->deadline, nearest > now ? nearest - now : 1);
}

/* Unlinks the first call that @stream names, or, with 0, one whose deadline has passed */
static struct pending *pending_take(struct ttrpc_conn *conn, uint32_t stream, uint64_t now)
{
	for (struct pending **at = &conn->pending; *at; at = &(*at)->next) {
		struct pending *p = *at;

		if (stream ? p->stream != stream : (!p->deadline_ms || p->deadline_ms > now))
			continue;
		*at = p->next;
		conn->npending--;
		return p;
	}
	return NULL;
}

static void on_deadline(struct loop_timer *timer)
{
	struct ttrpc_conn *conn = conn_get(container_of(timer, struct ttrpc_conn, deadline));
	uint64_t now = io_now_ms();
	struct pending *p;

	while (!conn->closed && (p = pending_take(conn, 0, now)))
		complete(p, TTRPC_DEADLINE_EXCEEDED, "no answer in time", NULL, 0);
	if (!conn->closed && arm_deadline(conn) < 0)
		conn_lose(conn);
	conn_put(conn);
}

static enum ttrpc_code known_code(int32_t code)
{
	return code > 0 && code <= 16 ? (enum ttrpc_code)code : TTRPC_UNKNOWN;
}

static int on_response(struct ttrpc_conn *conn, const struct frame *frame, const uint8_t *payload)
{
	Caisson__Ttrpc__Response *response;
	struct pending *p;

	if (frame->stream % 2 == 0 || frame->stream >= conn->next_stream)
		return -EPROTO;
	p = pending_take(conn, frame->stream, 0);
	if (!p)
		return 0; /* late: its deadline has passed */
	response = ttrpc_unpack(&caisson__ttrpc__response__descriptor, payload, frame->len);
	if (!response) {
		complete(p, TTRPC_UNAVAILABLE, "the answer could not be decoded", NULL, 0);
		return -EPROTO;
	}
	if (p->deadline_ms)
		(void)arm_deadline(conn); /* on failure an early timer finds nothing to do */
	if (response->status && response->status->code != TTRPC_OK)
		complete(p, known_code(response->status->code), response->status->message, NULL, 0);
	else
		complete(p, TTRPC_OK, "", response->payload.data, response->payload.len);
	ttrpc_message_free(response);
	return 0;
}

static int send_request(struct ttrpc_conn *conn, uint32_t stream, const char *service,
			const char *method, const ProtobufCMessage *message, uint64_t timeout_ms)
{
	Caisson__Ttrpc__Request request = CAISSON__TTRPC__REQUEST__INIT;
	size_t len = protobuf_c_message_get_packed_size(message);
	cleanup_free uint8_t *payload = NULL;

	if (len > TTRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	payload = malloc(len ? len : 1);
	if (!payload)
		return -ENOMEM;
	(void)protobuf_c_message_pack(message, payload);
	request.service = (char *)service;
	request.method = (char *)method;
	request.payload.data = payload;
	request.payload.len = len;
	request.timeout_nano = timeout_ms > INT64_MAX / NS_PER_MS ? INT64_MAX
								  : (int64_t)timeout_ms * NS_PER_MS;
	return send_frame(conn, TYPE_REQUEST, stream, &request.base);
}

static void pending_append(struct ttrpc_conn *conn, struct pending *p)
{
	struct pending **at = &conn->pending;

	while (*at)
		at = &(*at)->next;
	*at = p;
	conn->npending++;
}

int ttrpc_call(struct ttrpc_conn *conn, const char *service, const char *method,
	       const void *message, uint64_t timeout_ms, ttrpc_on_result *on_result, void *arg)
{
	struct pending *p;
	uint64_t now;
	int r;

	if (conn->closed || conn->lost)
		return -EPIPE;
	if (conn->npending >= TTRPC_CALLS_MAX || conn->next_stream > UINT32_MAX - 2)
		return -EBUSY;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	now = io_now_ms();
	*p = (struct pending){.stream = conn->next_stream, .on_result = on_result, .arg = arg};
	if (timeout_ms)
		p->deadline_ms = timeout_ms > UINT64_MAX - now ? UINT64_MAX : now + timeout_ms;
	pending_append(conn, p);
	r = timeout_ms ? arm_deadline(conn) : 0;
	if (r == 0)
		r = send_request(conn, p->stream, service, method, message, timeout_ms);
	if (r < 0) {
		free(pending_take(conn, p->stream, 0));
		return r;
	}
	conn->next_stream += 2;
	return 0;
}

/* ---- receiving ---- */

static int on_frame(struct ttrpc_conn *conn, const struct frame *frame, const uint8_t *payload)
{
	if (frame->flags != 0)
		return -EPROTO;
	switch (frame->type) {
	case TYPE_REQUEST:
		return on_request(conn, frame, payload);
	case TYPE_RESPONSE:
		return on_response(conn, frame, payload);
	default:
		return -EPROTO;
	}
}

/* Serves all whole frames in the input; Return: 0, or -errno when the connection must end (or has ended) */
static int parse_frames(struct ttrpc_conn *conn)
{
	struct buf_reader reader = buf_reader_of(conn->in.data, conn->in.len);
	int r = 0;

	while (r == 0 && buf_left(&reader) >= HEADER_BYTES) {
		const uint8_t *header = reader.data + reader.pos;
		struct frame frame = {
			.len = get_be32(header),
			.stream = get_be32(header + 4),
			.type = header[8],
			.flags = header[9],
		};
		const uint8_t *payload;

		if (frame.len > TTRPC_MESSAGE_MAX)
			return -EPROTO;
		if (buf_left(&reader) < HEADER_BYTES + (size_t)frame.len)
			break;
		(void)buf_take(&reader, HEADER_BYTES);
		payload = buf_take(&reader, frame.len);
		r = on_frame(conn, &frame, payload);
		if (conn->closed)
			return -EPIPE;
	}
	if (r < 0)
		return r;
	buf_consume(&conn->in, reader.pos);
	if (conn->in.len == 0 && conn->in.cap > KEEP_BYTES)
		buf_release(&conn->in);
	return 0;
}

/* Return: 1 when there may be more to read, 0 when not now, -errno when the connection must end */
static int receive(struct ttrpc_conn *conn)
{
	uint8_t step[READ_STEP];
	ssize_t n;
	int r;

	n = recv(conn->source.fd, step, sizeof(step), MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	r = buf_append(&conn->in, step, (size_t)n);
	if (r < 0)
		return r;
	r = parse_frames(conn);
	if (r < 0)
		return r;
	return (size_t)n == sizeof(step);
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct ttrpc_conn *conn = container_of(source, struct ttrpc_conn, source);
	int r = 1;

	if (conn->parsing)
		return;
	conn_get(conn);
	conn->parsing = true;
	if ((events & EPOLLOUT) && !conn->lost)
		flush(conn);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		for (int i = 0; r > 0 && i < READS_PER_EVENT; i++)
			r = receive(conn);
	}
	conn->parsing = false;
	if (r < 0 || conn->lost)
		conn_fail(conn); /* does nothing when a callback has freed it */
	conn_put(conn);
}

struct ttrpc_conn *ttrpc_conn_new(struct loop *loop, int fd, const struct ttrpc_service *services,
				  void (*on_close)(struct ttrpc_conn *conn, void *arg), void *arg,
				  struct err *err)
{
	cleanup_close int owned = fd;
	struct ttrpc_conn *conn;
	int r;

	r = io_set_nonblock(fd, true);
	if (r < 0) {
		(void)err_sys(err, -r, "cannot speak ttrpc over descriptor %d", fd);
		return NULL;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		(void)err_sys(err, ENOMEM, "cannot speak ttrpc over descriptor %d", fd);
		return NULL;
	}
	*conn = (struct ttrpc_conn){
		.loop = loop,
		.services = services,
		.on_close = on_close,
		.arg = arg,
		.refs = 1,
		.next_stream = 1,
	};
	conn->in.max = HEADER_BYTES + TTRPC_MESSAGE_MAX + READ_STEP;
	conn->out.max = 2 * (TTRPC_OUTPUT_MAX +
			     HEADER_BYTES); /* sent bytes included, see queue_frame() */
	conn->source = (struct loop_source){.fd = fd, .on_event = on_socket};
	conn->deadline.on_expire = on_deadline;
	r = loop_add(loop, &conn->source, EPOLLIN, err);
	if (r < 0) {
		free(conn);
		return NULL;
	}
	(void)take_fd(&owned);
	return conn;
}
