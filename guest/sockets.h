/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's Unix sockets below bind mounts, in the guest.
 *
 * For each that a program of the container has looked up while a program of the host listens there, the agent is bound to its inode, by
 * a directory of the file server's in which binding makes no file (kvm/fuse/sockets.c). A connection goes to the monitor with its
 * number and whose it is; datagrams go the same way in frames, all of one socket's in one connection, and there is no way back.
 *
 * The directory of each export is opened before the container's processes run: later, looking it up might wait for a lock of the export's
 * root, held by a look-up that waits for us.
 */
#ifndef GUEST_SOCKETS_H
#define GUEST_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/frames.h"
#include "lib/machine.h"

#include "guest/passage.h"

#define SOCKETS_RELAYED_MAX 128

struct sockets;

struct relayed_socket {
	struct loop_source source; /* .fd owned: bound, listening if it is a stream's */
	struct sockets *sockets;
	struct relayed_socket *next;
	uint32_t id, export_id;
	bool datagram;
	/* of datagrams */
	struct dial dial;
	struct frames frames;
};

/* Zero-initialise, sockets_init() */
struct sockets {
	struct passages *passages;     /* borrowed */
	const char *roots_dir;	       /* borrowed */
	int dirs[MACHINE_EXPORTS_MAX]; /* owned, O_PATH; -1: not a bind-mounted directory */
	int top;		    /* owned, O_PATH: of exports that are sockets themselves; -1 */
	struct relayed_socket *all; /* owned */
	unsigned int n;
};

void sockets_init(struct sockets *sockets, struct passages *passages, const char *roots_dir);
/** sockets_enter() - A container has this export as a bind mount */
void sockets_enter(struct sockets *sockets, uint32_t export_id, bool directory);
/** sockets_leave() - No container has it any more */
void sockets_leave(struct sockets *sockets, uint32_t export_id);
/** sockets_relay() - Bind to socket @id below @export_id; Return: 0 or -errno */
int sockets_relay(struct sockets *sockets, uint32_t id, uint32_t export_id, bool datagram,
		  struct err *err);
/** sockets_stop() - No longer; connections that there are go on */
void sockets_stop(struct sockets *sockets, uint32_t id);

#endif
