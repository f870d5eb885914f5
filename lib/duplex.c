/* SPDX-License-Identifier: Apache-2.0 */
/* Two relays that are one connection: see lib/duplex.h. */
#include "lib/duplex.h"

#include <errno.h>
#include <fcntl.h>

#include "lib/cleanup.h"

static void on_ended(struct duplex *duplex)
{
	if (duplex->forth.done && duplex->back.done)
		duplex->on_done(duplex);
}

static void on_forth(struct relay *relay)
{
	on_ended(container_of(relay, struct duplex, forth));
}

static void on_back(struct relay *relay)
{
	on_ended(container_of(relay, struct duplex, back));
}

int duplex_start(struct duplex *duplex, struct loop *loop, int a, int b,
		 void (*on_done)(struct duplex *duplex), struct err *err)
{
	cleanup_close int from_a = a, from_b = b;
	cleanup_close int to_a = fcntl(a, F_DUPFD_CLOEXEC, 3), to_b = fcntl(b, F_DUPFD_CLOEXEC, 3);
	int r;

	*duplex = (struct duplex){.on_done = on_done};
	if (to_a < 0 || to_b < 0)
		return err_sys(err, EMFILE, "cannot copy a connection");
	r = relay_start(&duplex->forth, loop, take_fd(&from_a), take_fd(&to_b), on_forth, err);
	if (r < 0)
		return r;
	r = relay_start(&duplex->back, loop, take_fd(&from_b), take_fd(&to_a), on_back, err);
	if (r < 0)
		relay_stop(&duplex->forth);
	return r;
}

void duplex_stop(struct duplex *duplex)
{
	relay_stop(&duplex->forth);
	relay_stop(&duplex->back);
}
