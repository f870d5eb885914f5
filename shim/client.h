/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the control socket, shared by the files that handle requests: server.c, pause.c, inspect.c.
 */
#ifndef SHIM_CLIENT_H
#define SHIM_CLIENT_H

#include "shim/monitor.h"

enum client_state {
	CLIENT_NEW,
	CLIENT_WAITING,
	CLIENT_EXEC,
	CLIENT_EVENTS,
};

struct client {
	struct loop_source source; /* .fd owned, -1 once closed */
	struct shim *shim;
	struct client *next, *prev;
	enum client_state state;
	uint64_t since_ms;  /* when it came */
	unsigned int calls; /* under way with this client as argument: it must stay */
	bool is_exec;
	bool exec_running,
		exec_ended; /* the agent has started it; the agent has said how it ended */
	char exec_id[CONTROL_EXEC_ID_MAX];
	int streams[3]; /* owned until they are handed over */
	unsigned int nstreams;
	pid_t standin; /* of an exec: its pid, as it says itself */
};

struct client_reply {
	enum control_reply_type type;
	int code;
	int guest_pid;
	uint64_t output_bytes[2];
	const char *text;
	const int *fds;
	unsigned int nfds;
	uint32_t payload_len;
};

/** client_send() - Return: false when the client is gone or does not read (then close it) */
bool client_send(struct client *client, const struct client_reply *reply);
/** client_close() - Close the connection; the struct goes with the last call that knows it */
void client_close(struct client *client);
/** client_finish() - Answer a request and be done with the connection */
void client_finish(struct client *client, int code, const struct err *err);
void client_refuse(struct client *client, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** client_wait() - Wait for the agent's answer; @r: the result of the call made for @client, below 0 it is refused */
void client_wait(struct client *client, int r);
/** client_on_answer() - The agent has answered, and that is all: callback of a call whose argument is the client */
void client_on_answer(const struct ttrpc_result *result, void *client);

/* ---- pause.c ---- */
void handle_pause(struct client *client, const struct control_request *request, int fd);
void handle_resume(struct client *client, const struct control_request *request, int fd);

/* ---- inspect.c ---- */
void handle_pids(struct client *client, const struct control_request *request, int fd);
void handle_processes(struct client *client, const struct control_request *request, int fd);
void handle_stats(struct client *client, const struct control_request *request, int fd);
void handle_events(struct client *client, const struct control_request *request, int fd);

/* ---- memory.c ---- */
void handle_grow_memory(struct client *client, const struct control_request *request, int fd);

#endif
