/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's messages: between the short commands (shim/control.c) and the monitor (shim/server.c).
 *
 *   command                                   monitor
 *      │ ── request {type, …} [+ memfd] ──▶     │      one struct, one datagram
 *      │ ◀── reply DONE {code, text} [+ fds] ── │
 *      │                                        │      START, SIGNAL, STOP, PING, PAUSE, RESUME, UPDATE, GROW_MEMORY: both ends close
 *      │                                        │      PIDS, PROCESSES, STATS: the same, the answer is in a sealed memfd
 *      │ ◀── reply EVENT {code} …            ── │      EVENTS: the connection stays until the container has ended
 *      │ ── RESIZE, SIGNAL ──▶                  │      EXEC: the connection stays, these are not answered
 *      │ ◀── reply EXIT {code} ──               │
 *
 * A SOCK_SEQPACKET Unix socket: a message is there whole or not at all. Both structs have a fixed size, so that "longer" and
 * "shorter" are errors of the first check; the documents of EXEC (a process) and of UPDATE (resources) may be larger than
 * a datagram and travel in a memfd. The socket is mode 0600 in a directory of mode 0700 and the peer's uid is checked; what comes over it is still
 * treated as foreign.
 */
#ifndef SHIM_PROTOCOL_H
#define SHIM_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define CONTROL_MAGIC 0x43534e43u /* "CSNC" */
#define CONTROL_VERSION 2u
#define CONTROL_EXEC_ID_MAX 128 /* bytes with the NUL */
#define CONTROL_SIGNAL_MAX 64u
#define CONTROL_CGROUP_MAX 512	   /* bytes of a cgroup's path with the NUL */
#define CONTROL_PID_MAX (1u << 22) /* PID_MAX_LIMIT of the kernel */
#define CONTROL_MEMORY_UNIT (1ull << 20)
#define CONTROL_MEMORY_MAX (1u << 26) /* units */
#define CONTROL_ANSWER_MAX (1u << 20) /* bytes of an answer in a memfd */

enum control_type {
	CONTROL_PING = 1,
	CONTROL_START,
	CONTROL_SIGNAL,
	CONTROL_STOP,
	CONTROL_EXEC,
	CONTROL_RESIZE,
	CONTROL_UPDATE,
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_PIDS,
	CONTROL_PROCESSES,
	CONTROL_STATS,
	CONTROL_EVENTS,
	CONTROL_GROW_MEMORY,
	CONTROL_TYPE_END, /* one more than the last */
};

#define CONTROL_SIGNAL_ALL (1u << 0)	     /* flags of SIGNAL */
#define CONTROL_EXEC_TERMINAL (1u << 0)	     /* flags of EXEC: one stream instead of three */
#define CONTROL_EXEC_IGNORE_PAUSED (1u << 1) /* begin when the container is resumed */

struct control_request {
	uint32_t magic;	  /* CONTROL_MAGIC */
	uint32_t version; /* CONTROL_VERSION */
	uint32_t type;	  /* enum control_type */
	uint32_t flags;	  /* by type, else 0 */
	uint32_t args
		[2]; /* SIGNAL: signal; RESIZE: rows, columns; EXEC: the stand-in's pid, 0; GROW_MEMORY: the guest's memory in all in CONTROL_MEMORY_UNITs, 0; else 0 */
	uint32_t payload_len; /* EXEC, UPDATE: bytes in the memfd beside the message; else 0 */
	uint32_t reserved;    /* 0 */
	char exec_id[CONTROL_EXEC_ID_MAX]; /* EXEC: NUL-terminated, "" = chosen by the monitor */
	char cgroup[CONTROL_CGROUP_MAX];   /* EXEC: below the container's in the guest; "": that */
};

enum control_reply_type {
	CONTROL_REPLY_DONE = 1, /* the answer to the request: code 0 or -errno */
	CONTROL_REPLY_EXIT,  /* EXEC: the process has ended, code is its status (0–255, 128+n) */
	CONTROL_REPLY_EVENT, /* EVENTS: code is an enum control_event */
};

enum control_event {
	CONTROL_EVENT_OOM =
		1, /* processes of the container were killed for lack of memory in the guest */
};

struct control_reply {
	uint32_t magic, version;
	uint32_t type; /* enum control_reply_type */
	int32_t code;
	int32_t guest_pid;    /* EXEC */
	uint32_t payload_len; /* PIDS, PROCESSES, STATS: bytes in the memfd beside it; else 0 */
	uint64_t output_bytes
		[2]; /* EXIT: what the process had written to stdout and stderr; a guest's word */
	char text[ERR_MSG_MAX]; /* NUL-terminated; "" without an error */
};

/*
 * What the child of monitor_spawn() tells its parent. With hooks that run in the parent's namespaces twice: NAMESPACES, which the
 * parent answers with one byte, or by closing its end; then DONE.
 */
enum monitor_report_kind {
	MONITOR_REPORT_DONE = 0,
	MONITOR_REPORT_NAMESPACES,
};
struct monitor_report {
	uint32_t kind; /* enum monitor_report_kind */
	int32_t code;  /* DONE: 0 created, else -errno */
	uint32_t
		about_program; /* the container's program cannot be run: the text carries the words engines look for */
	char text[ERR_MSG_MAX];
};

/** control_request_init() - A request of @type with nothing else in it */
void control_request_init(struct control_request *request, enum control_type type);

/**
 * control_request_check() - Is this a request this monitor understands?
 * @len:	Bytes received
 * @nfds:	Descriptors received beside it
 *
 * Return: 0, -EPROTO (not one of ours, wrong size), -EPROTONOSUPPORT (another version), -ENOSYS (unknown type) or -EINVAL (a field out
 * of range); @err has a sentence for the peer.
 */
int control_request_check(const struct control_request *request, size_t len, size_t nfds,
			  struct err *err);

/** control_reply_check() - The same for what a monitor answered; Return: 0 or -EPROTO */
int control_reply_check(const struct control_reply *reply, size_t len, struct err *err);

/** control_type_name() - "start", … for messages; "?" when unknown */
const char *control_type_name(uint32_t type);

/** text_clean() - Make foreign text fit for a terminal and a log: control characters become '?', invalid UTF-8 too */
void text_clean(char *text);

#endif
