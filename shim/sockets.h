/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets of the host's below bind mounts, as the guest finds them.
 *
 *   the guest looks one up ─▶ vmm: SOCKET {id} + O_PATH descriptor ─▶ does anybody listen there? ─no─▶ SOCKET_DONE 0
 *                                                                      │ yes, and of which kind
 *                                                                      ▼
 *                                       SOCKET_DONE 1 ◀─ answered ─ RelaySocket: the agent binds to it in the guest
 *
 *   a program connects in the guest ─▶ agent ─▶ relays.c: UNIX {id, uid, gid} ─▶ sockets_connect()
 *
 * Nothing is done by path: what can be connected to is the inode whose descriptor the vmm has sent, and it has none of what is not
 * below an export. A connection is made with the user and group of the program in the guest, so that a server of the host sees them
 * (SO_PEERCRED), if that can be one of the container's; the process number is the monitor's. Permission is what the guest's kernel has said of the node; the monitor's
 * capabilities, if it has any, let it connect whatever the mode is.
 */
#ifndef SHIM_SOCKETS_H
#define SHIM_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "oci/config.h"

#define SOCKETS_MAX 128 /* known at a time; the oldest goes */

struct shim;

struct found_socket {
	uint32_t id, export_id; /* id 0: free */
	int fd;			/* owned, O_PATH */
	bool datagram;
	bool asked;   /* RelaySocket has not been answered: the entry stays */
	bool relayed; /* the agent has it */
	bool fixed;   /* bind-mounted itself, so looked up once: it makes no room */
	struct shim *shim;
};

struct socket_kind {
	bool datagram;
	struct ucred
		sender; /* of datagrams: who the host's program sees, if it asks (SO_PASSCRED) */
};

/* Zero-initialise, proc_fd -1 */
struct sockets {
	int proc_fd; /* owned: /proc/self/fd, opened before the container's files become the root */
	struct found_socket all[SOCKETS_MAX];
};

/** sockets_may_be() - Can a process of the container have these ids, as they are on the host? */
bool sockets_may_be(const struct oci_config *config, uint32_t uid, uint32_t gid);

/**
 * socket_connect() - Connect to the Unix socket that @fd (O_PATH) is
 * Return: a non-blocking socket of @type; or -errno: -ECONNREFUSED nobody is bound to it, -EPROTOTYPE it has another type
 */
int socket_connect(int proc_fd, int fd, int type);

#endif
