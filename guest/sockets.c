/* SPDX-License-Identifier: Apache-2.0 */
/* The host's Unix sockets in the guest: see guest/sockets.h. */
#define _GNU_SOURCE
#include "guest/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define BACKLOG 128
#define BATCH 16

static void relayed_free(struct relayed_socket *relayed)
{
	struct relayed_socket **p = &relayed->sockets->all;

	while (*p != relayed)
		p = &(*p)->next;
	*p = relayed->next;
	relayed->sockets->n--;
	loop_del(&relayed->source);
	close_fd(&relayed->source.fd);
	dial_stop(&relayed->dial);
	frames_stop(&relayed->frames);
	free(relayed);
}

/* ---- connections ---- */

static void on_connection(struct loop_source *source, uint32_t events)
{
	struct relayed_socket *relayed = container_of(source, struct relayed_socket, source);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct machine_relay_hello hello = {.kind = MACHINE_RELAY_UNIX,
						    .socket = relayed->id};
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer = {0};
		socklen_t len = sizeof(peer);

		if (fd < 0)
			return;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
			(void)close(fd);
			continue;
		}
		hello.uid = peer.uid;
		hello.gid = peer.gid;
		(void)passage_open(relayed->sockets->passages, fd, &hello);
	}
}

/* ---- datagrams: one at a time, so that senders wait for the host as they would there ---- */

static bool on_frame(struct frames *frames, const uint8_t *data, size_t len)
{
	(void)frames;
	(void)data;
	(void)len;
	return true;
}

static void on_room(struct frames *frames)
{
	struct relayed_socket *relayed = container_of(frames, struct relayed_socket, frames);

	loop_mod(&relayed->source, EPOLLIN);
}

/* The next datagram tries again */
static void on_end(struct frames *frames)
{
	frames_stop(frames);
	on_room(frames);
}

static void send_one(struct relayed_socket *relayed)
{
	static uint8_t data[FRAMES_MAX];
	ssize_t n = recv(relayed->source.fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0)
		return;
	(void)frames_send(&relayed->frames, data, (size_t)n);
	if (!frames_is_idle(&relayed->frames))
		loop_mod(&relayed->source, 0);
}

static void on_dialled(struct dial *dial, int fd)
{
	struct relayed_socket *relayed = container_of(dial, struct relayed_socket, dial);
	char lost;

	relayed->frames.on_frame = on_frame;
	relayed->frames.on_room = on_room;
	relayed->frames.on_end = on_end;
	if (fd < 0 ||
	    frames_start(&relayed->frames, relayed->sockets->passages->loop, fd, NULL) < 0)
		(void)recv(relayed->source.fd, &lost, 1, MSG_DONTWAIT);
	loop_mod(&relayed->source, EPOLLIN);
}

static void on_datagram(struct loop_source *source, uint32_t events)
{
	struct relayed_socket *relayed = container_of(source, struct relayed_socket, source);
	const struct passages *passages = relayed->sockets->passages;

	(void)events;
	if (relayed->frames.in) {
		send_one(relayed);
		return;
	}
	loop_mod(source, 0);
	relayed->dial.hello = (struct machine_relay_hello){.kind = MACHINE_RELAY_UNIX,
							   .socket = relayed->id};
	relayed->dial.on_dialled = on_dialled;
	if (dial_start(&relayed->dial, passages->loop, passages->connect_host, passages->token) < 0)
		on_dialled(&relayed->dial, -1);
}

/* ---- binding ---- */

static int dir_of(const struct sockets *sockets, uint32_t export_id)
{
	if (export_id >= MACHINE_EXPORTS_MAX)
		return -1;
	return sockets->dirs[export_id] >= 0 ? sockets->dirs[export_id] : sockets->top;
}

static int bind_socket(int dir, uint32_t id, int type, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path),
		       "/proc/self/fd/%d/" MACHINE_SOCKETS_BIND "%u", dir, id);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return err_sys(err, errno, "cannot bind to a socket of the host's");
	return take_fd(&fd);
}

int sockets_relay(struct sockets *sockets, uint32_t id, uint32_t export_id, bool datagram,
		  struct err *err)
{
	struct relayed_socket *relayed;
	int dir = dir_of(sockets, export_id), fd, r;

	if (!id || dir < 0)
		return err_set(err, EINVAL, "export %u has no sockets", export_id);
	sockets_stop(sockets, id);
	if (sockets->n >= SOCKETS_RELAYED_MAX)
		return err_set(err, EMFILE, "more than %d sockets of the host's",
			       SOCKETS_RELAYED_MAX);
	fd = bind_socket(dir, id, datagram ? SOCK_DGRAM : SOCK_STREAM, err);
	if (fd < 0)
		return fd;
	relayed = calloc(1, sizeof(*relayed));
	if (!relayed) {
		(void)close(fd);
		return err_sys(err, ENOMEM, "cannot relay a socket");
	}
	relayed->sockets = sockets;
	relayed->id = id;
	relayed->export_id = export_id;
	relayed->datagram = datagram;
	relayed->source = (struct loop_source){.fd = fd,
					       .on_event = datagram ? on_datagram : on_connection};
	relayed->next = sockets->all;
	sockets->all = relayed;
	sockets->n++;
	r = loop_add(sockets->passages->loop, &relayed->source, EPOLLIN, err);
	if (r < 0)
		relayed_free(relayed);
	return r;
}

void sockets_stop(struct sockets *sockets, uint32_t id)
{
	for (struct relayed_socket *relayed = sockets->all, *next; relayed; relayed = next) {
		next = relayed->next;
		if (relayed->id == id)
			relayed_free(relayed);
	}
}

/* ---- exports ---- */

static int open_dir(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void sockets_enter(struct sockets *sockets, uint32_t export_id, bool directory)
{
	char path[256];

	if (export_id >= MACHINE_EXPORTS_MAX || sockets->dirs[export_id] >= 0)
		return;
	(void)snprintf(path, sizeof(path), "%s/" MACHINE_SOCKETS_NAME, sockets->roots_dir);
	if (!directory && sockets->top < 0)
		sockets->top = open_dir(path);
	(void)snprintf(path, sizeof(path), "%s/%u/" MACHINE_SOCKETS_NAME, sockets->roots_dir,
		       export_id);
	if (directory)
		sockets->dirs[export_id] = open_dir(path);
}

void sockets_leave(struct sockets *sockets, uint32_t export_id)
{
	for (struct relayed_socket *relayed = sockets->all, *next; relayed; relayed = next) {
		next = relayed->next;
		if (relayed->export_id == export_id)
			relayed_free(relayed);
	}
	if (export_id < MACHINE_EXPORTS_MAX)
		close_fd(&sockets->dirs[export_id]);
}

void sockets_init(struct sockets *sockets, struct passages *passages, const char *roots_dir)
{
	*sockets = (struct sockets){.passages = passages, .roots_dir = roots_dir, .top = -1};
	for (int i = 0; i < MACHINE_EXPORTS_MAX; i++)
		sockets->dirs[i] = -1;
}
