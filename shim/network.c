/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network follows the network namespace's (shim/network.h).
 *
 * Nothing is taken from an event but that something has happened: it makes the whole namespace be looked at again, so that a
 * lost event (ENOBUFS) is no different from one that came. The difference between what is there and what the guest has
 * is worked off in one round; what happens meanwhile makes the state dirty and is the next round's.
 *
 *   event ─▶ wait a little ─▶ scan ─▶ gone: LEAVING · new: tap, filters, ADD_NET ─▶ ADDING
 *                              ▲        │ all answered
 *                              │        ▼
 *                            dirty     SetNetwork, if the agent was told something else last
 *                              │        │ answered
 *                              │        ▼
 *                              └──── LEAVING: REMOVE_NET ─▶ REMOVING ─▶ answered: settled
 *
 * The way out of an interface is therefore: the agent unbinds its slot, the vmm drops the device and with it the tap.
 *
 * The filters of an interface are set again in each round (they are there: nothing happens), because an interface that was
 * taken out of the namespace and put back has lost them and still has its number.
 *
 * A namespace that is not the container's own is left alone: the host's, because redirecting its interfaces would cut it off;
 * one with users, because two cannot have the same addresses.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/netlink.h"

#define QUIET_MS 10 /* between the first event and the look: they come in bursts */
#define EVENT_GROUPS                                                                 \
	(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | \
	 RTMGRP_IPV6_ROUTE | RTMGRP_NEIGH)
#define EVENTS_PER_READ 64

static void advance(struct shim *s);
static void look(struct shim *s);

static void note_error(struct shim *s, const char *name, const struct err *err)
{
	struct shim_network *net = &s->network;

	if (net->error.code)
		return;
	if (name)
		(void)err_set(&net->error, err->code, "the network interface '%s': %s", name,
			      err->msg);
	else
		(void)err_set(&net->error, err->code, "the network: %s", err->msg);
	/* While the container is made or started this is the answer to whoever asked */
	if (s->phase == SHIM_SERVING && !net->on_settled)
		log_error("Cannot follow %s", net->error.msg);
}

/* ---- slots ---- */

static struct shim_net_slot *find_slot(struct shim *s, int ifindex)
{
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		struct shim_net_slot *slot = &s->network.slots[i];

		if (slot->state != NET_SLOT_FREE && slot->ifindex == ifindex)
			return slot;
	}
	return NULL;
}

static bool has_slot_in(const struct shim *s, enum shim_net_slot_state state)
{
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		if (s->network.slots[i].state == state)
			return true;
	}
	return false;
}

static void drop_tap(struct shim *s, struct shim_net_slot *slot)
{
	if (net_state_find(&s->network.state, slot->ifindex))
		net_redirect_remove(s->network.sock, slot->ifindex);
	net_tap_delete(s->network.sock, slot->tap);
	slot->tap = 0;
}

static void free_slot(struct shim *s, struct shim_net_slot *slot)
{
	drop_tap(s, slot);
	*slot = (struct shim_net_slot){0};
}

/* What is there from a monitor that died is nobody's: network_open() has looked for living ones */
static int redirect(struct shim *s, const struct shim_net_slot *slot, struct err *err)
{
	int sock = s->network.sock;
	int r = net_redirect(sock, slot->ifindex, slot->tap, err);

	if (r == -EEXIST) {
		net_redirect_remove(sock, slot->ifindex);
		r = net_redirect(sock, slot->ifindex, slot->tap, err);
	}
	return r < 0 ? r : net_redirect(sock, slot->tap, slot->ifindex, err);
}

/* Who asks from the host's side of the namespace is an engine's resolver, so it is done for no other */
static void follow_answers(struct shim *s, struct shim_net_slot *slot)
{
	struct shim_network *net = &s->network;
	struct err err = {0};
	int r;

	if (!net->state.resolver) {
		if (slot->answers)
			net_answers_remove(net->sock, slot->ifindex);
		slot->answers = false;
		return;
	}
	r = net->no_answers ? 0 : net_answers_add(net->sock, slot->ifindex, slot->tap, &err);
	if (r == 0 || r == -EEXIST) {
		slot->answers = !net->no_answers;
		return;
	}
	net->no_answers = true;
	log_warn("The engine's resolver at 127.0.0.11 will not hear servers outside, so that it "
		 "knows the "
		 "names of its networks only: %s",
		 err.msg);
}

static int add_device(struct shim *s, struct shim_net_slot *slot, const struct net_link *link,
		      struct err *err)
{
	struct shim_network *net = &s->network;
	struct vmm_net device = {.slot = (uint32_t)(slot - net->slots)};
	char alias[256];
	int r;

	memcpy(device.mac, link->mac, sizeof(device.mac));
	device.npairs = (uint16_t)(s->args->nvcpus < VMM_NET_QUEUES_MAX ? s->args->nvcpus
									: VMM_NET_QUEUES_MAX);
	(void)snprintf(alias, sizeof(alias), "caisson %.200s", s->args->id);
	r = net_tap_open(net->sock, &net->devices, link, alias, device.npairs, device.tap_fds, err);
	if (r < 0)
		return r;
	slot->tap = r;
	slot->mtu = link->mtu;
	r = redirect(s, slot, err);
	if (r == 0) {
		follow_answers(s, slot);
		device.vhost = net_vhost_open(&net->devices, device.npairs, device.vhost_fds);
		r = vmm_add_net(&s->vmm, &device, err);
		for (int i = 0; device.vhost && i < device.npairs; i++)
			close_fd(&device.vhost_fds[i]);
	}
	for (int i = 0; i < device.npairs; i++)
		close_fd(&device.tap_fds[i]);
	if (r == 0)
		log_debug("Network: '%s' is device %u of the guest, %u queue pairs, %s", link->name,
			  device.slot, device.npairs,
			  device.vhost ? "served by vhost-net" : "served by the vmm");
	return r;
}

static void add_interface(struct shim *s, const struct net_link *link)
{
	struct shim_net_slot *slot = NULL;
	struct err err = {0};

	for (int i = 0; !slot && i < MACHINE_LATE_SLOTS; i++) {
		if (s->network.slots[i].state == NET_SLOT_FREE)
			slot = &s->network.slots[i];
	}
	if (!slot) {
		/* One that is leaving makes room, and the next round */
		if (has_slot_in(s, NET_SLOT_LEAVING)) {
			s->network.dirty = true;
			return;
		}
		(void)err_set(&err, E2BIG, "a guest has at most %d", MACHINE_LATE_SLOTS);
		note_error(s, link->name, &err);
		return;
	}
	*slot = (struct shim_net_slot){.ifindex = link->ifindex, .state = NET_SLOT_ADDING};
	(void)snprintf(slot->name, sizeof(slot->name), "%s", link->name);
	if (add_device(s, slot, link, &err) < 0) {
		drop_tap(s, slot);
		slot->state = NET_SLOT_FAILED;
		note_error(s, link->name, &err);
	}
}

static void keep_interface(struct shim *s, struct shim_net_slot *slot, const struct net_link *link)
{
	struct err err = {0};

	if (slot->state != NET_SLOT_READY)
		return;
	(void)snprintf(slot->name, sizeof(slot->name), "%s", link->name);
	if (slot->mtu != link->mtu && net_tap_set_mtu(s->network.sock, slot->tap, link->mtu) == 0)
		slot->mtu = link->mtu;
	if (net_redirect(s->network.sock, slot->ifindex, slot->tap, &err) < 0 && err.code != EEXIST)
		note_error(s, link->name, &err);
	follow_answers(s, slot);
}

void network_on_vmm(struct shim *s, const struct vmm_msg *msg)
{
	bool added = msg->type == VMM_MSG_NET_ADDED;
	struct shim_net_slot *slot;
	char text[VMM_TEXT_MAX];
	struct err err = {0};

	if (msg->value >= MACHINE_LATE_SLOTS)
		return;
	slot = &s->network.slots[msg->value];
	if (slot->state != (added ? NET_SLOT_ADDING : NET_SLOT_REMOVING))
		return;
	if (!added) {
		free_slot(s, slot);
	} else if (msg->flags) {
		(void)snprintf(text, sizeof(text), "%s", msg->text);
		text_clean(text);
		(void)err_set(&err, EIO, "the guest's device: %s", text);
		drop_tap(s, slot);
		slot->state = NET_SLOT_FAILED;
		note_error(s, slot->name, &err);
	} else {
		slot->state = NET_SLOT_READY;
	}
	advance(s);
}

/* ---- a round ---- */

static void settle(struct shim *s)
{
	struct shim_network *net = &s->network;
	void (*done)(struct shim *, const struct err *, void *) = net->on_settled;
	struct err err = net->error;

	net->settled = true;
	net->on_settled = NULL;
	if (done)
		done(s, &err, net->on_settled_arg);
}

static void on_set(const struct ttrpc_result *result, void *arg)
{
	struct shim *s = arg;
	struct err err = {0};

	s->network.calling = false;
	if (agent_error(result, &err) < 0) {
		/* Not what it has: tell it all again next time */
		free(s->network.sent);
		s->network.sent = NULL;
		s->network.sent_len = SIZE_MAX;
		if (result->code != TTRPC_UNAVAILABLE)
			note_error(s, NULL, &err);
	}
	advance(s);
}

static void list_ready(const struct shim *s, int slots[MACHINE_LATE_SLOTS])
{
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		const struct shim_net_slot *slot = &s->network.slots[i];

		slots[i] = slot->state == NET_SLOT_READY ? slot->ifindex : 0;
	}
}

/* Return: whether an answer has to be waited for */
static bool tell_agent(struct shim *s)
{
	struct shim_network *net = &s->network;
	cleanup_free uint8_t *message = NULL;
	int slots[MACHINE_LATE_SLOTS], r;
	struct err err = {0};
	size_t len;

	if (net->told)
		return false; /* and it could not */
	list_ready(s, slots);
	r = net_message(&net->state, slots, &message, &len, &err);
	if (r == 0 && len == net->sent_len && (!len || memcmp(message, net->sent, len) == 0))
		return false;
	if (r == 0) {
		r = agent_set_network(s, message, len, on_set, s);
		if (r < 0)
			(void)err_sys(&err, -r, "telling the agent");
	}
	if (r < 0) {
		note_error(s, NULL, &err);
		return false;
	}
	free(net->sent);
	net->sent = take_ptr(&message);
	net->sent_len = len;
	net->told = true;
	net->calling = true;
	return true;
}

static void remove_devices(struct shim *s)
{
	for (uint32_t i = 0; i < MACHINE_LATE_SLOTS; i++) {
		struct shim_net_slot *slot = &s->network.slots[i];
		struct err err = {0};

		if (slot->state != NET_SLOT_LEAVING)
			continue;
		if (vmm_remove_net(&s->vmm, i, &err) == 0) {
			slot->state = NET_SLOT_REMOVING;
			continue;
		}
		/* Its tap at least goes; the slot stays taken, for nobody knows what is in it */
		note_error(s, slot->name, &err);
		drop_tap(s, slot);
		slot->ifindex = 0;
		slot->state = NET_SLOT_FAILED;
	}
}

/* As far as can be gone without an answer */
static void advance(struct shim *s)
{
	struct shim_network *net = &s->network;

	if (!net->active || net->settled || net->calling || has_slot_in(s, NET_SLOT_ADDING))
		return;
	if (tell_agent(s))
		return;
	remove_devices(s);
	if (has_slot_in(s, NET_SLOT_REMOVING))
		return;
	if (net->dirty)
		look(s);
	else
		settle(s);
}

static int scan(struct shim *s)
{
	struct net_state state;
	struct err err = {0};
	int r = net_scan(s->network.sock, &state, &err);

	if (r < 0) {
		note_error(s, NULL, &err);
		return r;
	}
	state.resolver = net_has_resolver(s->network.devices.proc_fd);
	net_state_release(&s->network.state);
	s->network.state = state;
	return 0;
}

static void compare(struct shim *s)
{
	struct shim_network *net = &s->network;

	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		struct shim_net_slot *slot = &net->slots[i];

		if (!slot->ifindex || net_state_find(&net->state, slot->ifindex))
			continue;
		if (slot->state == NET_SLOT_READY)
			slot->state = NET_SLOT_LEAVING;
		else if (slot->state == NET_SLOT_FAILED)
			free_slot(s, slot);
	}
	for (size_t i = 0; i < net->state.nlinks; i++) {
		const struct net_link *link = &net->state.links[i];
		struct shim_net_slot *slot = find_slot(s, link->ifindex);

		if (link->loopback)
			continue;
		if (slot)
			keep_interface(s, slot, link);
		else
			add_interface(s, link);
	}
}

/* A new round, or later when one is under way */
static void look(struct shim *s)
{
	struct shim_network *net = &s->network;

	net->dirty = true;
	if (!net->active || net->calling || has_slot_in(s, NET_SLOT_ADDING) ||
	    has_slot_in(s, NET_SLOT_REMOVING))
		return;
	net->dirty = false;
	net->settled = false;
	net->told = false;
	net->error = (struct err){0};
	if (scan(s) == 0)
		compare(s);
	advance(s);
}

/* ---- events ---- */

static void on_quiet(struct loop_timer *timer)
{
	struct shim *s = container_of(timer, struct shim, network.timer);

	s->network.waiting = false;
	if (!s->guest_gone && s->phase != SHIM_SHUTTING_DOWN)
		look(s);
}

/* Their content is not looked at */
static void drain(int fd)
{
	char chunk[4096];

	for (int i = 0; i < EVENTS_PER_READ; i++) {
		if (recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT) < 0 && errno != EINTR &&
		    errno != ENOBUFS)
			return;
	}
}

static void on_event(struct loop_source *source, uint32_t events)
{
	struct shim *s = container_of(source, struct shim, network.events);

	(void)events;
	drain(source->fd);
	if (s->network.waiting)
		return;
	s->network.waiting = true;
	if (loop_timer_arm(s->loop, &s->network.timer, QUIET_MS) < 0)
		look(s);
}

static int listen_events(struct shim *s, struct err *err)
{
	const struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = EVENT_GROUPS};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return err_sys(err, errno, "listening to the network namespace");
	s->network.events = (struct loop_source){.fd = fd, .on_event = on_event};
	if (bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
		return err_sys(err, errno, "listening to the network namespace");
	return loop_add(s->loop, &s->network.events, EPOLLIN, err);
}

/* ---- whose it is ---- */

static int refuse(const char *why, struct err *err)
{
	return err_set(
		err, EBUSY,
		"the network namespace is in use by %s, and its addresses cannot be a second "
		"guest's: give the container a network of its own (a user-defined network on "
		"which both are)",
		why);
}

/* Of one without interfaces nobody is robbed */
static int check_owner(const struct shim *s, struct err *err)
{
	const struct shim_network *net = &s->network;
	bool has_interfaces = false;
	char who[64];

	for (size_t i = 0; i < net->state.nlinks; i++)
		has_interfaces |= !net->state.links[i].loopback;
	if (!has_interfaces)
		return 0;
	for (size_t i = 0; i < net->state.ntaps; i++) {
		if (net->state.taps[i].alive)
			return refuse("another caisson container", err);
	}
	if (!net->user)
		return 0;
	(void)snprintf(who, sizeof(who), "process %d (%s)", net->user, net->user_name);
	return refuse(who, err);
}

/* ---- life ---- */

int network_open(struct shim *s, struct err *err)
{
	struct shim_network *net = &s->network;
	int r;

	if (!net->followed) {
		log_warn("The container shares the host's network namespace, whose interfaces stay "
			 "the host's: the guest has a loopback interface only");
		return 0;
	}
	net->timer.on_expire = on_quiet;
	net_devices_open(&net->devices);
	net->sock = netlink_open();
	if (net->sock < 0)
		return err_sys(err, -net->sock, "opening a netlink socket");
	r = listen_events(s, err);
	if (r < 0)
		return r;
	r = net_scan(net->sock, &net->state, err);
	return r < 0 ? r : check_owner(s, err);
}

int network_attach(struct shim *s, struct err *err)
{
	struct shim_network *net = &s->network;
	int r;

	if (!net->followed)
		return 0;
	net->active = true;
	look(s);
	r = shim_wait(s, &net->settled, SHIM_CREATE_TIMEOUT_MS, "setting up the guest's network",
		      err);
	if (r == 0 && net->error.code) {
		*err = net->error;
		r = -err->code;
	}
	return r;
}

int network_settle(struct shim *s,
		   void (*done)(struct shim *shim, const struct err *err, void *arg), void *arg)
{
	struct shim_network *net = &s->network;
	const struct err none = {0};

	if (net->on_settled)
		return -EBUSY;
	if (!net->active) {
		done(s, &none, arg);
		return 0;
	}
	net->on_settled = done;
	net->on_settled_arg = arg;
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++) {
		if (net->slots[i].state == NET_SLOT_FAILED && net->slots[i].ifindex)
			free_slot(s, &net->slots[i]);
	}
	look(s);
	return 0;
}

void network_release(struct shim *s)
{
	struct shim_network *net = &s->network;

	net->active = false;
	loop_del(&net->events);
	close_fd(&net->events.fd);
	loop_timer_release(&net->timer);
	for (int i = 0; net->sock >= 0 && i < MACHINE_LATE_SLOTS; i++) {
		if (net->slots[i].ifindex)
			free_slot(s, &net->slots[i]);
	}
	net_state_release(&net->state);
	close_fd(&net->sock);
	net_devices_close(&net->devices);
	free(net->sent);
	net->sent = NULL;
	if (net->noted)
		net_note_remove(s->state_fd);
	net->noted = false;
}
