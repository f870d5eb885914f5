/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --pidfd-socket: whoever listens there gets a descriptor of the process that stands for the container's or the exec'd one, which
 * stays good when its number is used again. As with runc one message is sent and nothing is awaited.
 */
#ifndef RUNTIME_PIDFD_H
#define RUNTIME_PIDFD_H

#include "lib/err.h"

/** pidfd_socket_connect() - @out: a connected socket, the caller's; -1 when @path is NULL or empty; Return: 0 or -errno */
int pidfd_socket_connect(const char *path, int *out, struct err *err);
/** pidfd_socket_send() - Send @pidfd; @kind: the message's text, as runc's; does nothing when @sock is -1; Return: 0 or -errno */
int pidfd_socket_send(int sock, int pidfd, const char *kind, struct err *err);

#endif
