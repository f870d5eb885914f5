/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relays: connections from the guest's agent to sockets of the host, and what may be reached by them.
 *
 *   agent ─▶ vsock port RELAY ─▶ vmm: ACCEPT ─▶ hello (struct machine_relay_hello, 32 bytes) ─▶ by kind:
 *
 *   DNS_UDP   frames ⇄ a UDP socket connected to 127.0.0.11:53 in the container's network namespace
 *   DNS_TCP   bytes ⇄ a TCP connection to the same
 *   UNIX      bytes or frames ⇄ a Unix socket that the guest has looked up below a bind mount (shim/sockets.h)
 *
 * Every program of the guest can connect to that port, and a guest may have been taken over. So: a hello has its deadline and
 * the token that only the agent was told; the kinds are all that can be reached; connections and what each of them
 * holds are bounded, and a connection whose other side does not read is not read either (datagrams are dropped).
 */
#ifndef SHIM_RELAYS_H
#define SHIM_RELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/duplex.h"
#include "lib/frames.h"
#include "lib/loop.h"
#include "lib/machine.h"

#define RELAYS_MAX 160 /* connections at a time, those without a hello too */
#define RELAYS_HELLO_TIMEOUT_MS 10000
#define RELAYS_CONNECT_TIMEOUT_MS 10000
#define RELAYS_DATAGRAM_IDLE_MS 60000 /* without a datagram either way */

enum relay_state {
	RELAY_GREETING,	  /* the hello is not complete */
	RELAY_CONNECTING, /* to the host's socket */
	RELAY_STREAM,
	RELAY_DATAGRAMS,
};

struct relay_conn {
	struct shim *shim;
	struct relay_conn *next;
	enum relay_state state;
	uint64_t deadline_ms; /* not in RELAY_STREAM */
	int guest;	      /* owned until the duplex or the frames have it */
	struct loop_source
		source; /* GREETING: the guest's; CONNECTING, DATAGRAMS: the host's socket, owned */
	struct machine_relay_hello hello;
	size_t got;	     /* bytes of it */
	struct ucred sender; /* of datagrams to a Unix socket; pid 0: this process */
	struct duplex duplex;
	struct frames frames;
};

/* Zero-initialise */
struct relays {
	uint64_t token;
	struct relay_conn *all; /* owned */
	size_t n;
	struct loop_timer timer;
	bool timer_armed;
};

/** relay_hello_is_valid() - Is it the agent's, and of a kind that we know? */
bool relay_hello_is_valid(const struct machine_relay_hello *hello, uint64_t token);

#endif
