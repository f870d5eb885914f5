/* SPDX-License-Identifier: Apache-2.0 */
/* Ways from a socket of the guest to one of the host's: see guest/passage.h. */
#include "guest/passage.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lib/cleanup.h"
#include "lib/log.h"

/* ---- the connection to the host ---- */

int dial_vsock(void)
{
	struct sockaddr_vm addr = {.svm_family = AF_VSOCK,
				   .svm_port = MACHINE_VSOCK_PORT_RELAY,
				   .svm_cid = VMADDR_CID_HOST};
	cleanup_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 ||
	    (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS))
		return -errno;
	return take_fd(&fd);
}

/* A new connection has room for the few bytes */
static bool greet(int fd, const struct machine_relay_hello *hello)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && !error &&
	       send(fd, hello, sizeof(*hello), MSG_NOSIGNAL | MSG_DONTWAIT) ==
		       (ssize_t)sizeof(*hello);
}

static void on_connected(struct loop_source *source, uint32_t events)
{
	struct dial *dial = container_of(source, struct dial, source);
	int fd = source->fd;

	(void)events;
	loop_del(source);
	dial->waiting = false;
	if (!greet(fd, &dial->hello)) {
		(void)close(fd);
		fd = -1;
	}
	dial->on_dialled(dial, fd);
}

int dial_start(struct dial *dial, struct loop *loop, int (*connect_host)(void), uint64_t token)
{
	int fd = connect_host(), r;

	if (fd < 0)
		return fd;
	dial->hello.magic = MACHINE_RELAY_MAGIC;
	dial->hello.token = token;
	dial->source = (struct loop_source){.fd = fd, .on_event = on_connected};
	r = loop_add(loop, &dial->source, EPOLLOUT, NULL);
	if (r < 0)
		(void)close(fd);
	dial->waiting = r == 0;
	return r;
}

void dial_stop(struct dial *dial)
{
	if (!dial->waiting)
		return;
	dial->waiting = false;
	loop_del(&dial->source);
	(void)close(dial->source.fd);
}

/* ---- passages ---- */

static void passage_free(struct passage *passage)
{
	struct passage **p = &passage->passages->all;

	while (*p != passage)
		p = &(*p)->next;
	*p = passage->next;
	passage->passages->n--;
	dial_stop(&passage->dial);
	duplex_stop(&passage->duplex);
	close_fd(&passage->client);
	free(passage);
}

static void on_done(struct duplex *duplex)
{
	passage_free(container_of(duplex, struct passage, duplex));
}

static void on_dialled(struct dial *dial, int fd)
{
	struct passage *passage = container_of(dial, struct passage, dial);
	struct err err = {0};

	if (fd < 0 || duplex_start(&passage->duplex, passage->passages->loop,
				   take_fd(&passage->client), fd, on_done, &err) < 0)
		passage_free(passage);
}

int passage_open(struct passages *passages, int client, const struct machine_relay_hello *hello)
{
	cleanup_close int owned = client;
	struct passage *passage;
	int r;

	if (passages->n >= PASSAGES_MAX)
		return -EMFILE;
	passage = calloc(1, sizeof(*passage));
	if (!passage)
		return -ENOMEM;
	passage->passages = passages;
	passage->client = take_fd(&owned);
	passage->dial.hello = *hello;
	passage->dial.on_dialled = on_dialled;
	passage->next = passages->all;
	passages->all = passage;
	passages->n++;
	r = dial_start(&passage->dial, passages->loop, passages->connect_host, passages->token);
	if (r < 0)
		passage_free(passage);
	return r;
}
