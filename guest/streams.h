/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: connections from the host that say by a token whose stdio they carry (struct machine_stream_hello).
 *
 * A stream and the request that names its token may arrive in either order, so whichever comes first waits here for the
 * other, at most STREAMS_TIMEOUT_MS. Tokens are the monitor's; processes of the guest cannot connect (their CID is not 2).
 */
#ifndef GUEST_STREAMS_H
#define GUEST_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/machine.h"

#define STREAMS_TIMEOUT_MS 30000
#define STREAMS_PENDING_MAX 256 /* connections that nobody has claimed yet */

struct stream_waiter {
	uint64_t token;
	/* The stream's socket, non-blocking, the callee's own; or -1: it did not come in time. Called once. */
	void (*on_stream)(struct stream_waiter *waiter, int fd);
	/* the table's own */
	struct stream_waiter *next;
	uint64_t deadline_ms;
	bool waiting;
};

struct stream_conn {
	struct loop_source source;
	struct streams *streams;
	struct stream_conn *next;
	uint64_t deadline_ms;
	size_t got;   /* bytes of hello */
	bool greeted; /* hello is complete, waits to be claimed */
	struct machine_stream_hello hello;
};

struct streams {
	struct loop *loop; /* borrowed */
	struct loop_source listener;
	struct loop_timer timer; /* looks for those that have waited too long */
	bool vsock, timer_armed;
	struct stream_conn *conns; /* owned */
	size_t nconns;
	struct stream_waiter *waiters; /* borrowed */
};

/** streams_init() - Accept streams on @listen_fd (borrowed); Return: 0 or -errno */
int streams_init(struct streams *streams, struct loop *loop, int listen_fd, bool vsock,
		 struct err *err);

/** streams_claim() - Ask for the stream with @waiter->token; on_stream may be called before this returns */
void streams_claim(struct streams *streams, struct stream_waiter *waiter);
/** streams_forget() - Stop waiting, without callback; does nothing when not waiting */
void streams_forget(struct streams *streams, struct stream_waiter *waiter);

/** streams_peer_is_host() - Whether a connected vsock socket's peer is the host */
bool streams_peer_is_host(int fd);

#endif
