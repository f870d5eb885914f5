/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: bytes from a ttrpc peer. The first byte chooses the role under test (server, or client with calls under way)
 * and in what pieces the rest arrives; the rest is what the peer sends, then it closes.
 *
 * Must hold: no crash, no leak, no hang, on_close exactly once, each call completed at most once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/ttrpc.h"
#include "lib/ttrpc.pb-c.h"

#define CALLS 4
#define KEPT_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ttrpc_call *kept[KEPT_MAX];
static size_t nkept;
static int closed, completed;

static void echo(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)arg;
	ttrpc_reply(call, payload, len);
}

/* Answers the one before: later, and out of order */
static void keep(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)arg;
	if (nkept > 0 && len % 2)
		ttrpc_reply_error(kept[--nkept], TTRPC_INTERNAL, "%zu", len);
	if (nkept < KEPT_MAX)
		kept[nkept++] = call;
	else
		ttrpc_reply(call, NULL, 0);
}

static const struct ttrpc_method methods[] = {
	{"E", 1000, echo}, {"K", 1000, keep}, {NULL, 0, NULL}};
static const struct ttrpc_service services[] = {{"s", methods, NULL}, {NULL, NULL, NULL}};

static void on_close(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	closed++;
	ttrpc_conn_free(conn);
}

static void on_result(const struct ttrpc_result *result, void *arg)
{
	(void)arg;
	if (!result->message || strlen(result->message) > TTRPC_MESSAGE_MAX)
		abort();
	completed++;
}

static void call_some(struct ttrpc_conn *conn)
{
	Caisson__Ttrpc__KeyValue message = CAISSON__TTRPC__KEY_VALUE__INIT;

	for (int i = 0; i < CALLS; i++) {
		if (ttrpc_call(conn, "s", "E", &message, i % 2 ? 60000 : 0, on_result, NULL) < 0)
			abort();
	}
}

static void feed(struct loop *loop, int peer, const uint8_t *data, size_t size, size_t piece)
{
	static uint8_t answers[65536];

	while (size > 0 && !closed) {
		ssize_t n = send(peer, data, size < piece ? size : piece,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
		(void)loop_step(loop, 0);
		(void)!recv(peer, answers, sizeof(answers), MSG_DONTWAIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_client;
	size_t piece;
	struct ttrpc_conn *conn;
	struct loop *loop;
	int s[2];

	if (size < 1)
		return 0;
	is_client = data[0] & 1;
	piece = data[0] & 2 ? 1 + (data[0] >> 2) : 65536;
	closed = 0;
	completed = 0;
	loop = loop_new(NULL);
	if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		abort();
	conn = ttrpc_conn_new(loop, s[0], is_client ? NULL : services, on_close, NULL, NULL);
	if (!conn)
		abort();
	if (is_client)
		call_some(conn);
	feed(loop, s[1], data + 1, size - 1, piece);
	(void)close(s[1]);
	for (int i = 0; i < 1000 && !closed; i++)
		(void)loop_step(loop, 0);
	if (closed != 1 || completed != (is_client ? CALLS : 0))
		abort();
	while (nkept > 0)
		ttrpc_reply(kept[--nkept], NULL, 0);
	loop_free(loop);
	return 0;
}
