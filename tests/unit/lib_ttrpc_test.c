/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/ttrpc.c: calls in both roles, peers that lie, stall, flood and vanish, and callbacks that free what called them.
 *
 * LDFLAGS: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/ttrpc.h"
#include "lib/ttrpc.pb-c.h"

#define LIMIT_MS 30000
#define KEEP_CALLS 600

/* ---- an allocator that fails on demand and keeps count ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static int fail_after = -1; /* allocations until the one that fails; -1: none fails */
static size_t allocated;    /* bytes asked for since the last reset */

static bool allow(size_t size)
{
	allocated += size;
	if (fail_after < 0)
		return true;
	if (fail_after == 0)
		return false;
	fail_after--;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return allow(size) ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return allow(n * size) ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *p, size_t size)
{
	return allow(size) ? __real_realloc(p, size) : NULL;
}

/* ---- a server of ours ---- */

static struct loop *loop;
static struct ttrpc_conn *server, *client;
static int peer = -1; /* a raw socket to whichever of the two is under test */
static struct ttrpc_call *kept[KEEP_CALLS];
static size_t nkept;
static int server_closed, client_closed;

static void echo(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	assert_string_equal(arg, "argument");
	ttrpc_reply(call, payload, len);
}

static void keep(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)len;
	(void)arg;
	assert_true(nkept < KEEP_CALLS);
	kept[nkept++] = call;
}

static void refuse(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)payload;
	(void)arg;
	ttrpc_reply_error(call, TTRPC_NOT_FOUND, "no '%s' of %zu bytes", "thing", len);
}

static void suicide(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	(void)arg;
	ttrpc_conn_free(server);
	server = NULL;
	ttrpc_reply(call, payload, len); /* silent */
}

static void flood(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	static uint8_t big[TTRPC_MESSAGE_MAX - 64];

	(void)payload;
	(void)len;
	(void)arg;
	ttrpc_reply(call, big, sizeof(big));
}

static void too_big(struct ttrpc_call *call, const uint8_t *payload, size_t len, void *arg)
{
	static uint8_t big[TTRPC_MESSAGE_MAX + 1];

	(void)payload;
	(void)len;
	(void)arg;
	ttrpc_reply(call, big, sizeof(big));
}

static const struct ttrpc_method methods[] = {
	{"Echo", TTRPC_MESSAGE_MAX, echo},
	{"Small", 4, echo},
	{"Keep", 1000, keep},
	{"Refuse", 1000, refuse},
	{"Suicide", 1000, suicide},
	{"Flood", 1000, flood},
	{"TooBig", 1000, too_big},
	{NULL, 0, NULL},
};
static const struct ttrpc_service services[] = {
	{"test.First", (const struct ttrpc_method[]){{NULL, 0, NULL}}, NULL},
	{"test.Service", methods, (void *)"argument"},
	{NULL, NULL, NULL},
};

static void on_server_close(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	assert_ptr_equal(conn, server);
	server_closed++;
	ttrpc_conn_free(conn);
	server = NULL;
}

static void on_client_close(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	assert_ptr_equal(conn, client);
	client_closed++;
	ttrpc_conn_free(conn);
	client = NULL;
}

static int set_up(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	nkept = 0;
	server_closed = 0;
	client_closed = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fail_after = -1;
	ttrpc_conn_free(client);
	client = NULL;
	ttrpc_conn_free(server);
	server = NULL;
	for (size_t i = 0; i < nkept; i++) /* answering a dead connection is silent, and frees */
		ttrpc_reply(kept[i], NULL, 0);
	nkept = 0;
	close_fd(&peer);
	loop_free(loop);
	return 0;
}

static void sockets(int s[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
}

static void start_both(void)
{
	int s[2];

	sockets(s);
	server = ttrpc_conn_new(loop, s[0], services, on_server_close, NULL, NULL);
	client = ttrpc_conn_new(loop, s[1], NULL, on_client_close, NULL, NULL);
	assert_non_null(server);
	assert_non_null(client);
}

static void start_server(void)
{
	int s[2];

	sockets(s);
	server = ttrpc_conn_new(loop, s[0], services, on_server_close, NULL, NULL);
	peer = s[1];
	assert_int_equal(io_set_nonblock(peer, true), 0);
}

static void start_client(void)
{
	int s[2];

	sockets(s);
	client = ttrpc_conn_new(loop, s[0], NULL, on_client_close, NULL, NULL);
	peer = s[1];
	assert_int_equal(io_set_nonblock(peer, true), 0);
}

static void settle(void)
{
	for (int i = 0; i < 100000; i++) {
		if (loop_step(loop, 10) == 0)
			return;
	}
	fail_msg("the loop spins");
}

/* ---- a client's view of results ---- */

struct seen {
	int calls;
	enum ttrpc_code code;
	char text[200];
	uint8_t data[64];
	size_t len;
	struct ttrpc_conn **free_conn;
};

static void on_result(const struct ttrpc_result *result, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->code = result->code;
	strncpy(seen->text, result->message, sizeof(seen->text) - 1);
	seen->len = result->len;
	if (result->len && result->len <= sizeof(seen->data))
		memcpy(seen->data, result->payload, result->len);
	if (seen->free_conn) {
		ttrpc_conn_free(*seen->free_conn);
		*seen->free_conn = NULL;
	}
}

static void wait_for(struct seen *seen)
{
	uint64_t end = io_now_ms() + LIMIT_MS;

	while (!seen->calls && io_now_ms() < end)
		assert_true(loop_step(loop, 1000) >= 0);
	assert_int_equal(seen->calls, 1);
}

/* Any message will do: this one is {key, value} */
static int call(const char *method, const char *value, uint64_t timeout_ms, struct seen *seen)
{
	Caisson__Ttrpc__KeyValue message = CAISSON__TTRPC__KEY_VALUE__INIT;

	message.value = (char *)value;
	return ttrpc_call(client, "test.Service", method, &message, timeout_ms,
			  seen ? on_result : NULL, seen);
}

static void a_call_and_its_answer(void **state)
{
	struct seen seen = {0};

	(void)state;
	start_both();
	assert_int_equal(call("Echo", "abc", 0, &seen), 0);
	assert_int_equal(seen.calls, 0); /* never from within the call */
	wait_for(&seen);
	assert_int_equal(seen.code, TTRPC_OK);
	assert_string_equal(seen.text, "");
	assert_memory_equal(seen.data,
			    "\x12\x03"
			    "abc",
			    5);
	assert_int_equal(call("Echo", "", 0, NULL), 0); /* nobody wants the answer */
	settle();
}

static void statuses_travel(void **state)
{
	struct seen a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
	Caisson__Ttrpc__KeyValue message = CAISSON__TTRPC__KEY_VALUE__INIT;

	(void)state;
	start_both();
	assert_int_equal(call("Refuse", "ab", 0, &a), 0);
	assert_int_equal(call("Missing", "", 0, &b), 0);
	assert_int_equal(call("Small", "12345", 0, &c), 0);
	assert_int_equal(call("TooBig", "", 0, &d), 0);
	assert_int_equal(ttrpc_call(client, "test.First", "Echo", &message, 0, on_result, &e), 0);
	wait_for(&e);
	assert_int_equal(a.code, TTRPC_NOT_FOUND);
	assert_string_equal(a.text, "no 'thing' of 4 bytes");
	assert_int_equal(b.code, TTRPC_UNIMPLEMENTED);
	assert_int_equal(c.code, TTRPC_INVALID_ARGUMENT);
	assert_int_equal(d.code, TTRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(e.code, TTRPC_UNIMPLEMENTED);
}

static void answers_in_any_order(void **state)
{
	struct seen seen[3] = {0};
	Caisson__Ttrpc__KeyValue message = CAISSON__TTRPC__KEY_VALUE__INIT;

	(void)state;
	start_both();
	for (int i = 0; i < 3; i++)
		assert_int_equal(call("Keep", "", 0, &seen[i]), 0);
	settle();
	assert_int_equal(nkept, 3);
	message.key = (char *)"k";
	ttrpc_reply_message(kept[2], &message);
	ttrpc_reply(kept[0], (const uint8_t *)"zero", 4);
	settle();
	assert_int_equal(seen[2].calls, 1);
	assert_memory_equal(seen[2].data, "\x0a\x01k", 3);
	assert_int_equal(seen[0].calls, 1);
	assert_memory_equal(seen[0].data, "zero", 4);
	assert_int_equal(seen[1].calls, 0);
	ttrpc_reply_error(kept[1], TTRPC_INTERNAL, "x");
	nkept = 0;
	wait_for(&seen[1]);
	assert_int_equal(seen[1].code, TTRPC_INTERNAL);
}

static void large_messages_travel(void **state)
{
	static char big[3u << 20];
	struct seen seen[3] = {0};

	(void)state;
	memset(big, 'b', sizeof(big) - 1);
	start_both();
	for (int i = 0; i < 3; i++)
		assert_int_equal(call("Echo", big, 0, &seen[i]), 0);
	for (int i = 0; i < 3; i++) {
		wait_for(&seen[i]);
		assert_int_equal(seen[i].code, TTRPC_OK);
		assert_int_equal(seen[i].len, sizeof(big) + 4);
	}
}

static void too_large_a_request_is_refused_here(void **state)
{
	static char big[TTRPC_MESSAGE_MAX + 2];
	struct seen seen = {0};

	(void)state;
	memset(big, 'b', sizeof(big) - 1);
	start_both();
	assert_int_equal(call("Echo", big, 0, &seen), -EMSGSIZE);
	big[TTRPC_MESSAGE_MAX - 8] = '\0'; /* fits alone, but not in its envelope */
	assert_int_equal(call("Echo", big, 0, &seen), -EMSGSIZE);
	assert_int_equal(call("Echo", "x", 0, &seen), 0);
	wait_for(&seen);
	assert_int_equal(seen.code, TTRPC_OK);
}

static void deadlines(void **state)
{
	struct seen fast = {0}, slow = {0}, none = {0}, next = {0};

	(void)state;
	start_both();
	assert_int_equal(call("Keep", "", 0, &none), 0);
	assert_int_equal(call("Keep", "", 60000, &slow), 0);
	assert_int_equal(call("Keep", "", 20, &fast), 0);
	wait_for(&fast);
	assert_int_equal(fast.code, TTRPC_DEADLINE_EXCEEDED);
	assert_int_equal(slow.calls + none.calls, 0);
	for (size_t i = 0; i < 3; i++)
		ttrpc_reply(kept[i], NULL,
			    0); /* one of them late: dropped, and the connection lives */
	nkept = 0;
	wait_for(&slow);
	assert_int_equal(slow.code, TTRPC_OK);
	assert_int_equal(none.calls, 1);
	assert_int_equal(fast.calls, 1);
	assert_int_equal(call("Echo", "", 0, &next), 0);
	wait_for(&next);
	assert_int_equal(client_closed, 0);
}

static void too_many_calls(void **state)
{
	static struct seen seen[TTRPC_CALLS_MAX];
	struct seen more = {0};

	(void)state;
	memset(seen, 0, sizeof(seen));
	start_both();
	for (size_t i = 0; i < TTRPC_CALLS_MAX; i++)
		assert_int_equal(call("Keep", "", 0, &seen[i]), 0);
	assert_int_equal(call("Echo", "", 0, &more), -EBUSY);
	settle();
	assert_int_equal(nkept, TTRPC_CALLS_MAX);
	for (size_t i = 0; i < nkept; i++)
		ttrpc_reply(kept[i], NULL, 0);
	nkept = 0;
	settle();
	for (size_t i = 0; i < TTRPC_CALLS_MAX; i++)
		assert_int_equal(seen[i].calls, 1);
	assert_int_equal(call("Echo", "", 0, &more), 0);
	wait_for(&more);
}

static void the_peers_end_completes_everything_once(void **state)
{
	struct seen a = {0}, b = {0};

	(void)state;
	start_client();
	assert_int_equal(call("Echo", "x", 0, &a), 0);
	assert_int_equal(call("Echo", "x", 50000, &b), 0);
	close_fd(&peer);
	settle();
	assert_int_equal(a.calls + b.calls, 2);
	assert_int_equal(a.code, TTRPC_UNAVAILABLE);
	assert_int_equal(client_closed, 1);
	assert_null(client);
}

static void a_call_on_a_dead_connection(void **state)
{
	struct seen seen = {0};
	int s[2];

	(void)state;
	sockets(s);
	client = ttrpc_conn_new(loop, s[0], NULL, NULL, NULL, NULL);
	peer = s[1];
	close_fd(&peer);
	if (call("Echo", "", 0, &seen) == 0) { /* not known yet: then the callback tells */
		assert_int_equal(seen.calls, 0);
		settle();
		assert_int_equal(seen.calls, 1);
		assert_int_equal(seen.code, TTRPC_UNAVAILABLE);
	}
	assert_int_equal(call("Echo", "", 0, &seen), -EPIPE);
}

static void an_answer_that_came_before_the_end(void **state)
{
	struct seen seen = {0}, second = {0};

	(void)state;
	start_client();
	assert_int_equal(call("Echo", "", 0, &seen), 0);
	assert_int_equal(write(peer, "\0\0\0\0\0\0\0\x01\x02\0", 10), 10);
	close_fd(&peer);
	(void)call("Echo", "", 0, &second); /* finds out that the peer has gone */
	settle();
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.code, TTRPC_OK);
	assert_int_equal(client_closed, 1);
}

static void freeing_drops_calls_silently(void **state)
{
	struct seen seen = {0};

	(void)state;
	start_both();
	assert_int_equal(call("Keep", "", 100, &seen), 0);
	settle();
	ttrpc_conn_free(client);
	client = NULL;
	settle();
	assert_int_equal(seen.calls, 0);
	assert_int_equal(server_closed,
			 1); /* and tear_down() answers the kept call of a dead connection */
	ttrpc_conn_free(NULL);
}

static void freeing_in_callbacks(void **state)
{
	struct seen a = {.free_conn = &client}, b = {.free_conn = &client};

	(void)state;
	start_both();
	assert_int_equal(call("Echo", "", 0, &a), 0);
	assert_int_equal(call("Echo", "", 0, &a), 0);
	settle(); /* both answers may lie in one read */
	assert_int_equal(a.calls, 1);
	assert_null(client);
	assert_int_equal(client_closed, 0);
	tear_down(NULL);
	set_up(NULL);

	start_both(); /* in a deadline, others are waiting */
	assert_int_equal(call("Keep", "", 5, &b), 0);
	assert_int_equal(call("Keep", "", 5, &b), 0);
	wait_for(&b);
	assert_null(client);
	settle();
	assert_int_equal(b.calls, 1);
	tear_down(NULL);
	set_up(NULL);

	start_client(); /* while the end of the connection completes the calls */
	b = (struct seen){.free_conn = &client};
	assert_int_equal(call("Keep", "", 0, &b), 0);
	assert_int_equal(call("Keep", "", 0, &b), 0);
	close_fd(&peer);
	settle();
	assert_int_equal(b.calls, 1);
	assert_int_equal(client_closed, 0);
}

static void freeing_in_a_handler(void **state)
{
	struct seen seen = {0};

	(void)state;
	start_both();
	assert_int_equal(call("Suicide", "", 0, &seen), 0);
	assert_int_equal(call("Echo", "", 0, &seen), 0);
	settle();
	assert_null(server);
	assert_int_equal(seen.calls, 2);
	assert_int_equal(seen.code, TTRPC_UNAVAILABLE);
	assert_int_equal(client_closed, 1);
}

/* ---- a hostile peer ---- */

static size_t frame(uint8_t *out, uint32_t len, uint32_t stream, uint8_t type, uint8_t flags)
{
	for (int i = 0; i < 4; i++) {
		out[i] = (uint8_t)(len >> (24 - 8 * i));
		out[4 + i] = (uint8_t)(stream >> (24 - 8 * i));
	}
	out[8] = type;
	out[9] = flags;
	return 10;
}

/* A request frame for Echo with @stream; Return: its length */
static size_t request(uint8_t *out, size_t size, uint32_t stream, const char *method)
{
	Caisson__Ttrpc__Request r = CAISSON__TTRPC__REQUEST__INIT;
	size_t len;

	r.service = (char *)"test.Service";
	r.method = (char *)method;
	len = caisson__ttrpc__request__get_packed_size(&r);
	assert_true(len + 10 <= size);
	(void)frame(out, (uint32_t)len, stream, 1, 0);
	(void)caisson__ttrpc__request__pack(&r, out + 10);
	return len + 10;
}

static void partial_frames_are_put_together(void **state)
{
	uint8_t bytes[200], answer[200];
	size_t len = request(bytes, sizeof(bytes), 1, "Echo"), n;

	(void)state;
	start_server();
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(recv(peer, answer, sizeof(answer), MSG_DONTWAIT), -1);
		assert_int_equal(write(peer, bytes + i, 1), 1);
		settle();
	}
	assert_int_equal(recv(peer, answer, sizeof(answer), MSG_DONTWAIT), 10);
	assert_memory_equal(answer, "\0\0\0\0\0\0\0\x01\x02\0", 10);
	n = request(bytes, sizeof(bytes), 3, "Echo"); /* two in one */
	n += request(bytes + n, sizeof(bytes) - n, 5, "Echo");
	assert_int_equal(write(peer, bytes, n), n);
	settle();
	assert_int_equal(recv(peer, answer, sizeof(answer), MSG_DONTWAIT), 20);
	assert_int_equal(server_closed, 0);
}

static void broken_frames_end_the_connection(void **state)
{
	static const struct {
		uint32_t len, stream;
		uint8_t type, flags;
	} broken[] = {
		{TTRPC_MESSAGE_MAX + 1, 1, 1, 0},
		{UINT32_MAX, 1, 1, 0},
		{0, 2, 1, 0},
		{0, 0, 1, 0},
		{0, 1, 3, 0},
		{0, 1, 0, 0},
		{0, 1, 9, 0},
		{0, 1, 1, 1},
		{0, 1, 2, 0}, /* an answer that nobody asked for */
	};
	uint8_t bytes[10];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		start_server();
		(void)frame(bytes, broken[i].len, broken[i].stream, broken[i].type,
			    broken[i].flags);
		assert_int_equal(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
		settle();
		assert_int_equal(server_closed, (int)i + 1);
		assert_int_equal(read(peer, bytes, 1), 0);
		close_fd(&peer);
	}
}

static void stream_ids_must_increase(void **state)
{
	uint8_t bytes[200];
	size_t n;

	(void)state;
	start_server();
	n = request(bytes, sizeof(bytes), 5, "Echo");
	n += request(bytes + n, sizeof(bytes) - n, 3, "Echo");
	assert_int_equal(write(peer, bytes, n), n);
	settle();
	assert_int_equal(server_closed, 1);
}

static void announced_bytes_cost_no_memory(void **state)
{
	uint8_t bytes[110] = {0};

	(void)state;
	start_server();
	(void)frame(bytes, TTRPC_MESSAGE_MAX, 1, 1, 0);
	allocated = 0;
	assert_int_equal(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	settle();
	assert_true(allocated < 10000);
	assert_int_equal(server_closed, 0);
}

static void small_fields_cost_no_memory(void **state)
{
	static uint8_t bytes[10 + (1u << 20)];
	size_t sent = 0;

	(void)state;
	start_server();
	(void)frame(bytes, 1u << 20, 1, 1, 0);
	for (size_t i = 10; i < sizeof(bytes); i += 2) { /* metadata = {}, half a million times */
		bytes[i] = 0x2a;
		bytes[i + 1] = 0;
	}
	allocated = 0;
	while (sent < sizeof(bytes) && !server_closed) {
		ssize_t n = write(peer, bytes + sent, sizeof(bytes) - sent);

		sent += n > 0 ? (size_t)n : 0;
		assert_true(loop_step(loop, 0) >= 0);
	}
	settle();
	assert_int_equal(server_closed, 1);
	assert_true(allocated < (8u << 20));
}

static void unpack_is_bounded_and_frees(void **state)
{
	static uint8_t unknown[200000];
	Caisson__Ttrpc__KeyValue *m;

	(void)state;
	for (size_t i = 0; i < sizeof(unknown); i += 2) { /* field 15, varint 0 */
		unknown[i] = 0x78;
		unknown[i + 1] = 0;
	}
	allocated = 0;
	assert_null(ttrpc_unpack(&caisson__ttrpc__key_value__descriptor, unknown, sizeof(unknown)));
	assert_true(allocated < 4 * sizeof(unknown) + 200000);
	m = ttrpc_unpack(&caisson__ttrpc__key_value__descriptor, (const uint8_t *)"\x0a\x01k", 3);
	assert_non_null(m);
	assert_string_equal(m->key, "k");
	ttrpc_message_free(m);
	ttrpc_message_free(NULL);
	assert_null(ttrpc_unpack(&caisson__ttrpc__key_value__descriptor,
				 (const uint8_t *)"\x0a\x7fk", 3));
}

static void a_peer_that_never_reads_is_cut_off(void **state)
{
	uint8_t bytes[200];
	uint32_t stream = 1;

	(void)state;
	start_server();
	for (int i = 0; i < 10 && !server_closed; i++, stream += 2) {
		size_t n = request(bytes, sizeof(bytes), stream, "Flood");

		allocated = 0;
		assert_int_equal(write(peer, bytes, n), n);
		settle();
		assert_true(allocated < 3 * TTRPC_OUTPUT_MAX);
	}
	assert_int_equal(server_closed, 1);
	assert_true(stream <= 13);
}

static void a_flood_of_requests_is_refused(void **state)
{
	uint8_t bytes[200], answers[20000];
	uint32_t stream = 1;
	size_t got = 0;

	(void)state;
	start_server();
	for (size_t i = 0; i < TTRPC_CALLS_MAX + 50; i++, stream += 2) {
		size_t n = request(bytes, sizeof(bytes), stream, "Keep");

		assert_int_equal(write(peer, bytes, n), n);
		settle();
	}
	assert_int_equal(nkept, TTRPC_CALLS_MAX);
	got = (size_t)recv(peer, answers, sizeof(answers), MSG_DONTWAIT);
	assert_true(got > 50 * 10 && got < sizeof(answers));
	assert_int_equal(server_closed, 0);
}

static void an_agent_that_answers_what_was_not_asked(void **state)
{
	struct seen seen = {0};
	uint8_t bytes[10];

	(void)state;
	start_client();
	assert_int_equal(call("Echo", "", 0, &seen), 0);
	(void)frame(bytes, 0, 3, 2, 0); /* not yet used */
	assert_int_equal(write(peer, bytes, 10), 10);
	settle();
	assert_int_equal(client_closed, 1);
	assert_int_equal(seen.code, TTRPC_UNAVAILABLE);
}

static void an_agent_that_answers_garbage(void **state)
{
	struct seen seen = {0};
	uint8_t bytes[13] = {0};

	(void)state;
	start_client();
	assert_int_equal(call("Echo", "", 0, &seen), 0);
	(void)frame(bytes, 3, 1, 2, 0);
	memcpy(bytes + 10, "\x0a\x7f\x01", 3); /* a status longer than the message */
	assert_int_equal(write(peer, bytes, 13), 13);
	settle();
	assert_int_equal(client_closed, 1);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.code, TTRPC_UNAVAILABLE);
}

static void odd_status_codes_are_errors(void **state)
{
	static const uint8_t codes[][6] = {{0x0a, 2, 0x08, 99}, {0x0a, 2, 0x08, 16}};
	static const int wanted[] = {TTRPC_UNKNOWN, 16};
	uint8_t bytes[14];

	(void)state;
	start_client();
	for (uint32_t i = 0; i < 2; i++) {
		struct seen seen = {0};

		assert_int_equal(call("Echo", "", 0, &seen), 0);
		(void)frame(bytes, 4, 2 * i + 1, 2, 0);
		memcpy(bytes + 10, codes[i], 4);
		assert_int_equal(write(peer, bytes, 14), 14);
		wait_for(&seen);
		assert_int_equal(seen.code, wanted[i]);
		assert_string_equal(seen.text, "");
	}
}

static void a_pure_client_answers_requests_with_an_error(void **state)
{
	uint8_t bytes[200];
	size_t n = request(bytes, sizeof(bytes), 1, "Echo");

	(void)state;
	start_client();
	assert_int_equal(write(peer, bytes, n), n);
	settle();
	assert_true(read(peer, bytes, sizeof(bytes)) > 10);
	assert_int_equal(bytes[8], 2);
	assert_int_equal(bytes[13], TTRPC_UNIMPLEMENTED); /* 0a len 08 code */
	assert_int_equal(client_closed, 0);
}

/* Whichever allocation fails, each call is completed once or refused, and nothing leaks (the sanitised build looks) */
static void any_allocation_may_fail(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++) {
		struct seen seen = {0};
		int r, s[2];

		sockets(s);
		fail_after = i;
		server = ttrpc_conn_new(loop, s[0], services, on_server_close, NULL, NULL);
		client = server ? ttrpc_conn_new(loop, s[1], NULL, on_client_close, NULL, NULL)
				: NULL;
		if (!server)
			(void)close(s[1]);
		r = client ? call("Echo", "abc", 60000, &seen) : -ENOMEM;
		settle();
		fail_after = -1;
		assert_int_equal(seen.calls, r == 0 ? 1 : 0);
		ttrpc_conn_free(client);
		client = NULL;
		ttrpc_conn_free(server);
		server = NULL;
		settle();
	}
}

static void new_closes_what_it_cannot_use(void **state)
{
	struct err err = {0};
	int s[2];

	(void)state;
	sockets(s);
	fail_after = 0;
	assert_null(ttrpc_conn_new(loop, s[0], NULL, NULL, NULL, &err));
	fail_after = -1;
	assert_int_equal(fcntl(s[0], F_GETFD), -1);
	assert_true(err.code == ENOMEM);
	(void)close(s[1]);
	assert_null(ttrpc_conn_new(loop, -1, NULL, NULL, NULL, &err));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_call_and_its_answer),
		TEST(statuses_travel),
		TEST(answers_in_any_order),
		TEST(large_messages_travel),
		TEST(too_large_a_request_is_refused_here),
		TEST(deadlines),
		TEST(too_many_calls),
		TEST(the_peers_end_completes_everything_once),
		TEST(a_call_on_a_dead_connection),
		TEST(an_answer_that_came_before_the_end),
		TEST(freeing_drops_calls_silently),
		TEST(freeing_in_callbacks),
		TEST(freeing_in_a_handler),
		TEST(partial_frames_are_put_together),
		TEST(broken_frames_end_the_connection),
		TEST(stream_ids_must_increase),
		TEST(announced_bytes_cost_no_memory),
		TEST(small_fields_cost_no_memory),
		TEST(unpack_is_bounded_and_frees),
		TEST(a_peer_that_never_reads_is_cut_off),
		TEST(a_flood_of_requests_is_refused),
		TEST(an_agent_that_answers_what_was_not_asked),
		TEST(an_agent_that_answers_garbage),
		TEST(odd_status_codes_are_errors),
		TEST(a_pure_client_answers_requests_with_an_error),
		TEST(any_allocation_may_fail),
		TEST(new_closes_what_it_cannot_use),
	};

	return cmocka_run_group_tests_name("lib/ttrpc", tests, NULL, NULL);
}
