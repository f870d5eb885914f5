/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two relays (lib/relay.h) between the same two sockets, one for each direction: a connection that goes through us.
 *
 * Each direction ends by itself, so a half-close on one side is one on the other; when both have ended, so has the whole.
 */
#ifndef LIB_DUPLEX_H
#define LIB_DUPLEX_H

#include "lib/relay.h"

/* Zero-initialise */
struct duplex {
	struct relay forth, back;
	void (*on_done)(struct duplex *duplex); /* from the loop; may free the owner */
};

/**
 * duplex_start() - Begin to copy between @a and @b
 * @a, @b:	Connected stream sockets; owned from now on, also on failure
 * Return: 0 or -errno
 */
int duplex_start(struct duplex *duplex, struct loop *loop, int a, int b,
		 void (*on_done)(struct duplex *duplex), struct err *err);
/** duplex_stop() - Close both at once, without on_done; harmless on a zeroed or finished one */
void duplex_stop(struct duplex *duplex);

#endif
