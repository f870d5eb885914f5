/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's service: requests as a monitor would send them, with any payload. An input is a sequence of
 *
 *   method (1 byte), length (2 bytes, big endian), payload
 *
 * The agent has one container "c", said to be running, whose cgroup cannot be opened and that has all the processes it may have. So
 * every request is decoded, and its documents are parsed and checked, up to the point where the guest would be changed (its network: the
 * namespace is none). Hello
 * and Shutdown (the machine's clock, entropy and power) and Processes (forks) are left out.
 *
 * Must hold: no crash, no leak, every answer decodes, no request is answered twice.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/agent.pb-c.h"
#include "guest/container.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/ttrpc.pb-c.h"

#define METHODS_MAX 32
#define REQUESTS_MAX 32
#define FRAME_HEADER 10
#define TYPE_REQUEST 1
#define TYPE_RESPONSE 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char service[] = "a";
static struct ttrpc_method methods[METHODS_MAX];
static size_t nmethods;
static bool closed;

static void init(void)
{
	for (const struct ttrpc_method *m = agent_methods; m->name; m++) {
		if (strcmp(m->name, "Hello") != 0 && strcmp(m->name, "Shutdown") != 0 &&
		    strcmp(m->name, "Processes") != 0 && nmethods + 1 < METHODS_MAX)
			methods[nmethods++] = *m;
	}
	log_set_fd(-1);
}

static void on_close(struct ttrpc_conn *conn, void *arg)
{
	(void)arg;
	closed = true;
	ttrpc_conn_free(conn);
}

/* The host is not there */
static int connect_nobody(void)
{
	return -ECONNREFUSED;
}

static void add_container(struct agent *agent)
{
	struct container *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->agent = agent;
	c->cgroup_fd = -1;
	c->device_program_fd = -1;
	c->state = CONTAINER_RUNNING;
	c->nprocesses = AGENT_PROCESSES_MAX;
	memcpy(c->id, "c", 2);
	agent->containers = c;
	agent->ncontainers = 1;
}

static void put32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static void send_request(int fd, const char *method, uint32_t stream, const uint8_t *payload,
			 size_t len)
{
	static uint8_t frame[FRAME_HEADER + 65536 + 256];
	Caisson__Ttrpc__Request request = CAISSON__TTRPC__REQUEST__INIT;
	size_t n;

	request.service = service;
	request.method = (char *)method;
	request.payload = (ProtobufCBinaryData){.data = (uint8_t *)payload, .len = len};
	n = caisson__ttrpc__request__pack(&request, frame + FRAME_HEADER);
	put32(frame, (uint32_t)n);
	put32(frame + 4, stream);
	frame[8] = TYPE_REQUEST;
	frame[9] = 0;
	if (send(fd, frame, FRAME_HEADER + n, MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)(FRAME_HEADER + n))
		abort();
}

/* All answers that have come so far */
static void check_answers(int fd, bool *is_open)
{
	static uint8_t in[256 << 10];
	ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);

	for (size_t at = 0; n > 0 && at < (size_t)n;) {
		uint32_t len, stream;
		Caisson__Ttrpc__Response *response;

		if ((size_t)n - at < FRAME_HEADER)
			abort();
		len = get32(in + at);
		stream = get32(in + at + 4);
		if (len > (size_t)n - at - FRAME_HEADER || in[at + 8] != TYPE_RESPONSE ||
		    stream / 2 >= REQUESTS_MAX || !is_open[stream / 2])
			abort();
		is_open[stream / 2] = false;
		response = caisson__ttrpc__response__unpack(NULL, len, in + at + FRAME_HEADER);
		if (!response ||
		    (response->status && response->status->code && !response->status->message[0]))
			abort();
		caisson__ttrpc__response__free_unpacked(response, NULL);
		at += FRAME_HEADER + len;
	}
}

static void run(struct agent *agent, int fd, const uint8_t *data, size_t size)
{
	bool is_open[REQUESTS_MAX] = {0};

	for (uint32_t i = 0; i < REQUESTS_MAX && size >= 3 && !closed; i++) {
		size_t len = (size_t)data[1] << 8 | data[2];
		const char *method = methods[data[0] % nmethods].name;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		is_open[i] = true;
		send_request(fd, method, 2 * i + 1, data, len);
		(void)loop_step(agent->loop, 0);
		check_answers(fd, is_open);
		data += len;
		size -= len;
	}
	if (closed)
		abort(); /* nothing of this breaks the protocol */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct agent_config config = {.roots_dir = "/dev/null/none"};
	struct agent agent = {.config = &config, .greeted = true, .cgroup_fd = -1};
	struct ttrpc_conn *conn;
	int s[2], room = 256 << 10;

	if (!nmethods)
		init();
	closed = false;
	agent.services[0] = (struct ttrpc_service){
		.name = service, .methods = methods, .arg = &agent};
	agent.loop = loop_new(NULL);
	if (!agent.loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		abort();
	(void)setsockopt(s[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	conn = ttrpc_conn_new(agent.loop, s[0], agent.services, on_close, NULL, NULL);
	if (!conn)
		abort();
	agent.network = (struct network){.netns_fd = STDIN_FILENO};
	agent.passages = (struct passages){.loop = agent.loop, .connect_host = connect_nobody};
	sockets_init(&agent.sockets, &agent.passages, config.roots_dir);
	resolver_init(&agent.resolver, &agent.passages, -1);
	add_container(&agent);
	run(&agent, s[1], data, size);
	/* As a failed Create does: nobody waits for it, it is gone at once */
	while (agent.containers) {
		struct container *c = agent.containers;

		if (c->state != CONTAINER_DELETING)
			container_delete(c, NULL);
		container_try_remove(c);
	}
	(void)close(s[1]);
	for (int i = 0; i < 100 && !closed; i++)
		(void)loop_step(agent.loop, 0);
	if (!closed)
		abort();
	loop_free(agent.loop);
	return 0;
}
