/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttrpc: the one implementation, for the agent (server), the monitor (client) and, later, containerd's task service.
 *
 * A frame on the wire, all integers big-endian:
 *
 *   0        4          8     9      10
 *   ┌────────┬──────────┬─────┬──────┬──────────────────────────┐
 *   │ length │ stream id│ type│ flags│ payload (length bytes)   │
 *   └────────┴──────────┴─────┴──────┴──────────────────────────┘
 *
 * type 1 = request (client, odd stream ids, increasing), 2 = response (same id). The payload of a request is a
 * `caisson.ttrpc.Request {service, method, payload, timeout_nano}`, that of a response a `Response {status, payload}`
 * (lib/ttrpc.proto). Streaming (type 3, flags) is refused. A frame longer than TTRPC_MESSAGE_MAX closes the connection, as
 * does any other broken frame: a peer that lies about lengths cannot be resynchronised.
 *
 * Both ends are driven by a struct loop and never block. Replies may come later and in any order.
 */
#ifndef LIB_TTRPC_H
#define LIB_TTRPC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/loop.h"

#define TTRPC_MESSAGE_MAX (4u << 20) /* bytes of one payload, as in containerd's implementation */
#define TTRPC_CALLS_MAX 256u	     /* calls under way on one connection */
#define TTRPC_OUTPUT_MAX \
	(16u             \
	 << 20) /* bytes queued for a peer that does not read; above: the connection is closed */

/* Status codes (the numbers of gRPC's) that we use */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_ABORTED = 10,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

struct ttrpc_conn; /* one connection, either role or both */
struct ttrpc_call; /* a request received and not yet answered */

/* ---- server side ---- */

struct ttrpc_method {
	const char *name;   /* "Kill" */
	size_t request_max; /* bytes; a longer payload is refused with INVALID_ARGUMENT */
	/**
	 * @handle: must answer, now or later, with ttrpc_reply() or ttrpc_reply_error(), exactly once. @payload is borrowed
	 * until it returns.
	 */
	void (*handle)(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg);
};
struct ttrpc_service {
	const char *name;		    /* "caisson.agent.Agent" */
	const struct ttrpc_method *methods; /* ended by a NULL name */
	void *arg;
};

/** ttrpc_reply() - Answer with an encoded message; frees @call; silent when the connection is gone */
void ttrpc_reply(struct ttrpc_call *call, const uint8_t *payload, size_t len);
/** ttrpc_reply_error() - Answer with a status; @fmt is the message shown to the caller; frees @call */
void ttrpc_reply_error(struct ttrpc_call *call, enum ttrpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* protobuf-c convenience, usable without including protobuf-c here: @message is a ProtobufCMessage * */
void ttrpc_reply_message(struct ttrpc_call *call, const void *message);

/* ---- decoding ---- */

/**
 * ttrpc_unpack() - Decode a message from a peer, with memory bounded by about twice its length
 * @descriptor:	const ProtobufCMessageDescriptor *, e.g. &caisson__agent__wait_response__descriptor
 *
 * Plain X__unpack() lets a few megabytes of unknown or repeated fields take a hundred times as much: use this for whatever a
 * guest sends. Return: the message (free it with ttrpc_message_free() or X__free_unpacked(m, NULL)), or NULL when it is broken.
 */
void *ttrpc_unpack(const void *descriptor, const uint8_t *payload, size_t len);
/** ttrpc_unpack_within() - The same with memory of at most @budget bytes, for messages that are mostly small repeated ones */
void *ttrpc_unpack_within(const void *descriptor, const uint8_t *payload, size_t len,
			  size_t budget);
void ttrpc_message_free(void *message);

/* ---- connections ---- */

/**
 * ttrpc_conn_new() - Speak ttrpc over a connected stream socket
 * @fd:		Owned by the connection, also on failure; made non-blocking
 * @services:	Array ended by a NULL name, borrowed for the connection's life; NULL for a pure client
 * @on_close:	Called once when the peer has closed or broken the protocol, after all pending client calls have been completed
 *		with TTRPC_UNAVAILABLE; the callee then calls ttrpc_conn_free(). May be NULL.
 */
struct ttrpc_conn *ttrpc_conn_new(struct loop *loop, int fd, const struct ttrpc_service *services,
				  void (*on_close)(struct ttrpc_conn *conn, void *arg), void *arg,
				  struct err *err);
/** ttrpc_conn_free() - Close; pending calls are dropped without callback, received ones become silent. NULL is allowed. */
void ttrpc_conn_free(struct ttrpc_conn *conn);

/* ---- client side ---- */

/* The answer to one call; valid during the callback only */
struct ttrpc_result {
	enum ttrpc_code code;
	const char *message; /* status text, "" when code is TTRPC_OK */
	const uint8_t *payload;
	size_t len;
};
typedef void ttrpc_on_result(const struct ttrpc_result *result, void *arg);

/**
 * ttrpc_call() - Send a request
 * @message:	ProtobufCMessage *, encoded at once
 * @timeout_ms:	0 = none; on expiry @on_result gets TTRPC_DEADLINE_EXCEEDED and a late answer is dropped
 * @on_result:	Called exactly once from the loop, except after ttrpc_conn_free(); may be NULL
 * Return: 0, or -errno (then no callback): -EBUSY above TTRPC_CALLS_MAX, -EMSGSIZE, -EPIPE when closed.
 */
int ttrpc_call(struct ttrpc_conn *conn, const char *service, const char *method,
	       const void *message, uint64_t timeout_ms, ttrpc_on_result *on_result, void *arg);

#endif
