/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's resolver in the guest: see guest/resolver.h.
 *
 * Queries are not looked at. Whoever sends them is a program of the container, which can lose its own answers at most: flows,
 * what waits in them and connections are bounded, and an answer goes to the address that the flow's first query came from.
 */
#define _GNU_SOURCE
#include "guest/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define BATCH 16
#define BACKLOG 32
#define BIND_TRIES 16
#define SWEEP_MS 5000

/* ---- flows ---- */

static void flow_free(struct resolver_flow *flow)
{
	struct resolver_flow **p = &flow->resolver->flows;

	while (*p != flow)
		p = &(*p)->next;
	*p = flow->next;
	flow->resolver->nflows--;
	dial_stop(&flow->dial);
	frames_stop(&flow->frames);
	for (unsigned int i = 0; i < flow->nearly; i++)
		free(flow->early[i].data);
	free(flow);
}

static void on_end(struct frames *frames)
{
	flow_free(container_of(frames, struct resolver_flow, frames));
}

static bool on_answer(struct frames *frames, const uint8_t *data, size_t len)
{
	struct resolver_flow *flow = container_of(frames, struct resolver_flow, frames);

	(void)sendto(flow->resolver->udp.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		     (struct sockaddr *)&flow->client, sizeof(flow->client));
	if (flow->unanswered > 1) {
		flow->unanswered--;
		return true;
	}
	flow_free(flow);
	return false;
}

static void on_dialled(struct dial *dial, int fd)
{
	struct resolver_flow *flow = container_of(dial, struct resolver_flow, dial);
	struct err err = {0};

	flow->frames.on_frame = on_answer;
	flow->frames.on_end = on_end;
	if (fd < 0 || frames_start(&flow->frames, flow->resolver->passages->loop, fd, &err) < 0) {
		flow_free(flow);
		return;
	}
	flow->connected = true;
	for (unsigned int i = 0; i < flow->nearly; i++) {
		(void)frames_send(&flow->frames, flow->early[i].data, flow->early[i].len);
		free(flow->early[i].data);
	}
	flow->nearly = 0;
}

static void on_sweep(struct loop_timer *timer)
{
	struct resolver *resolver = container_of(timer, struct resolver, timer);
	uint64_t now = io_now_ms();

	for (struct resolver_flow *flow = resolver->flows, *next; flow; flow = next) {
		next = flow->next;
		if (flow->deadline_ms <= now)
			flow_free(flow);
	}
	resolver->timer_armed = resolver->flows && loop_timer_arm(resolver->passages->loop,
								  &resolver->timer, SWEEP_MS) == 0;
}

static struct resolver_flow *flow_new(struct resolver *resolver, const struct sockaddr_in *client)
{
	struct resolver_flow *flow, *last = resolver->flows;

	while (resolver->nflows >= RESOLVER_FLOWS_MAX && last->next)
		last = last->next;
	if (resolver->nflows >= RESOLVER_FLOWS_MAX)
		flow_free(last);
	flow = calloc(1, sizeof(*flow));
	if (!flow)
		return NULL;
	flow->resolver = resolver;
	flow->client = *client;
	flow->dial.hello.kind = MACHINE_RELAY_DNS_UDP;
	flow->dial.on_dialled = on_dialled;
	flow->next = resolver->flows;
	resolver->flows = flow;
	resolver->nflows++;
	if (dial_start(&flow->dial, resolver->passages->loop, resolver->passages->connect_host,
		       resolver->passages->token) < 0) {
		flow_free(flow);
		return NULL;
	}
	if (!resolver->timer_armed)
		resolver->timer_armed = loop_timer_arm(resolver->passages->loop, &resolver->timer,
						       SWEEP_MS) == 0;
	return flow;
}

static struct resolver_flow *find_flow(struct resolver *resolver, const struct sockaddr_in *client)
{
	for (struct resolver_flow *flow = resolver->flows; flow; flow = flow->next) {
		if (flow->client.sin_port == client->sin_port &&
		    flow->client.sin_addr.s_addr == client->sin_addr.s_addr)
			return flow;
	}
	return flow_new(resolver, client);
}

/* What there is no room for is lost */
static void keep_early(struct resolver_flow *flow, const uint8_t *data, size_t len)
{
	uint8_t *copy;

	if (flow->nearly == RESOLVER_EARLY_MAX)
		return;
	copy = malloc(len + 1);
	if (!copy)
		return;
	memcpy(copy, data, len);
	flow->early[flow->nearly].data = copy;
	flow->early[flow->nearly++].len = len;
}

static void on_udp(struct loop_source *source, uint32_t events)
{
	static uint8_t data[FRAMES_MAX];
	struct resolver *resolver = container_of(source, struct resolver, udp);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in client;
		socklen_t len = sizeof(client);
		ssize_t n = recvfrom(source->fd, data, sizeof(data), MSG_DONTWAIT,
				     (struct sockaddr *)&client, &len);
		struct resolver_flow *flow;

		if (n < 0)
			return;
		if (len != sizeof(client))
			continue;
		flow = find_flow(resolver, &client);
		if (!flow)
			continue;
		flow->deadline_ms = io_now_ms() + RESOLVER_FLOW_MS;
		flow->unanswered++;
		if (flow->connected)
			(void)frames_send(&flow->frames, data, (size_t)n);
		else
			keep_early(flow, data, (size_t)n);
	}
}

static void on_tcp(struct loop_source *source, uint32_t events)
{
	static const struct machine_relay_hello hello = {.kind = MACHINE_RELAY_DNS_TCP};
	struct resolver *resolver = container_of(source, struct resolver, tcp);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		(void)passage_open(resolver->passages, fd, &hello);
	}
}

/* ---- sockets ---- */

static int bind_one(int type, uint16_t *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(MACHINE_RESOLVER_ADDRESS),
				   .sin_port = htons(*port)};
	socklen_t len = sizeof(addr);
	cleanup_close int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return -errno;
	*port = ntohs(addr.sin_port);
	return take_fd(&fd);
}

/* Both on one port, which is free for both */
static int bind_both(struct resolver *resolver, struct err *err)
{
	int r = -EADDRINUSE;

	for (int i = 0; i < BIND_TRIES && r == -EADDRINUSE; i++) {
		cleanup_close int udp = -1, tcp = -1;

		resolver->port = 0;
		r = udp = bind_one(SOCK_DGRAM, &resolver->port);
		if (r < 0)
			break;
		r = tcp = bind_one(SOCK_STREAM, &resolver->port);
		if (r < 0)
			continue;
		resolver->udp = (struct loop_source){.fd = take_fd(&udp), .on_event = on_udp};
		resolver->tcp = (struct loop_source){.fd = take_fd(&tcp), .on_event = on_tcp};
	}
	return r < 0 ? err_sys(err, -r, "cannot bind the resolver's sockets") : 0;
}

/* A socket stays in the namespace that it was made in */
static int bind_in(struct resolver *resolver, int netns_fd, struct err *err)
{
	cleanup_close int own = -1;
	int r;

	if (netns_fd < 0)
		return bind_both(resolver, err);
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot enter the container's network");
	r = bind_both(resolver, err);
	if (setns(own, CLONE_NEWNET) < 0)
		log_error("The agent cannot return to its network: %s", err_reason(errno));
	return r;
}

/* ---- life ---- */

static void stop(struct resolver *resolver)
{
	for (size_t i = 0; i < RESOLVER_PROGRAMS; i++)
		close_fd(&resolver->links[i]);
	while (resolver->flows)
		flow_free(resolver->flows);
	loop_del(&resolver->udp);
	loop_del(&resolver->tcp);
	close_fd(&resolver->udp.fd);
	close_fd(&resolver->tcp.fd);
	resolver->on = false;
}

static int start(struct resolver *resolver, int netns_fd, struct err *err)
{
	struct loop *loop = resolver->passages->loop;
	int r = bind_in(resolver, netns_fd, err);

	if (r == 0)
		r = loop_add(loop, &resolver->udp, EPOLLIN, err);
	if (r == 0)
		r = loop_add(loop, &resolver->tcp, EPOLLIN, err);
	if (r == 0 && resolver->cgroup_fd >= 0)
		r = resolver_hook(resolver->cgroup_fd, resolver->udp.fd, resolver->port,
				  resolver->links, err);
	return r;
}

void resolver_init(struct resolver *resolver, struct passages *passages, int cgroup_fd)
{
	*resolver = (struct resolver){.passages = passages, .cgroup_fd = cgroup_fd};
	resolver->udp.fd = resolver->tcp.fd = -1;
	resolver->timer.on_expire = on_sweep;
	for (size_t i = 0; i < RESOLVER_PROGRAMS; i++)
		resolver->links[i] = -1;
}

int resolver_set(struct resolver *resolver, bool on, int netns_fd, struct err *err)
{
	int r;

	if (on == resolver->on)
		return 0;
	if (!on) {
		stop(resolver);
		return 0;
	}
	r = start(resolver, netns_fd, err);
	if (r < 0)
		stop(resolver);
	resolver->on = r == 0;
	return r;
}
