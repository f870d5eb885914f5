/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passages: ways from a socket of the guest to one of the host's, through the monitor.
 *
 *   program ⇄ the agent's socket │ vsock port RELAY: struct machine_relay_hello, then the bytes │ monitor ⇄ the host's socket
 *
 * The agent connects, so the monitor need not be asked first; what the monitor cannot reach it closes.
 */
#ifndef GUEST_PASSAGE_H
#define GUEST_PASSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/duplex.h"
#include "lib/err.h"
#include "lib/loop.h"
#include "lib/machine.h"

#define PASSAGES_MAX \
	96 /* connections at a time: the machine has 256 (VSOCK_CONNECTIONS_MAX), stdio needs some */

/* A connection to the host that is being made. Zero-initialise */
struct dial {
	struct loop_source source; /* .fd owned while it waits */
	struct machine_relay_hello hello;
	bool waiting;
	/* From the loop, once: the connection (the callee's), greeted; or -1. May free the owner */
	void (*on_dialled)(struct dial *dial, int fd);
};

/** dial_start() - Connect with @dial->hello.kind and on_dialled set; Return: 0 or -errno, then without on_dialled */
int dial_start(struct dial *dial, struct loop *loop, int (*connect_host)(void), uint64_t token);
/** dial_stop() - Give up, without on_dialled; harmless on a zeroed or finished one */
void dial_stop(struct dial *dial);
/** dial_vsock() - What @connect_host is in a guest: begin to connect to the monitor; Return: a non-blocking socket or -errno */
int dial_vsock(void);

struct passage {
	struct passages *passages;
	struct passage *next;
	int client; /* owned until the duplex has it */
	struct dial dial;
	struct duplex duplex;
};
struct passages {
	struct loop *loop;	   /* borrowed */
	int (*connect_host)(void); /* dial_vsock(), or a test's */
	uint64_t token;
	struct passage *all; /* owned */
	size_t n;
};

/** passage_open() - Take @client, a connected stream socket, to the host as @hello says; owned from now on, also on failure */
int passage_open(struct passages *passages, int client, const struct machine_relay_hello *hello);

#endif
