/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps, and the filters that tie each to its interface (shim/network.h).
 *
 * A tap is not persistent: it goes with its last descriptor, which the vmm holds. Its name says which interface it serves. The
 * host's own stack is kept off it: no IPv6 link-local address, so nothing that the guest would hear.
 *
 * The filter has a preference of its own, behind all that others may have set on the interface, so that a policer or a
 * firewall there still has its say. Its handle notes whether the qdisc was ours too: whoever cleans up after a monitor
 * that was killed knows by it what to remove. A filter whose tap is gone takes everything and delivers nothing, which is why
 * `delete` must come by; a new monitor replaces it.
 */
#include "shim/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/netlink.h"

#define FILTER_PREFERENCE 0xca15u
#define ANSWERS_PREFERENCE (FILTER_PREFERENCE - 1) /* just before */
#define FILTER_HANDLE_QDISC_OURS 1u		   /* low bits: those of u32 have others above */
#define FILTER_HANDLE_QDISC_OTHERS 2u
#define FILTER_HANDLE_MASK 0xfffu
#define INGRESS_PARENT TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS_PARENT TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
#define ADDR_GEN_MODE_NONE 1 /* the kernel's IN6_ADDR_GEN_MODE_NONE */

/* ---- device nodes ---- */

void net_devices_open(struct net_devices *devices)
{
	devices->proc_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	devices->tun_fd = open("/dev/net/tun", O_PATH | O_CLOEXEC);
	devices->vhost_fd = open("/dev/vhost-net", O_PATH | O_CLOEXEC);
}

void net_devices_close(struct net_devices *devices)
{
	close_fd(&devices->proc_fd);
	close_fd(&devices->tun_fd);
	close_fd(&devices->vhost_fd);
}

static int reopen(const struct net_devices *devices, int fd, int flags)
{
	char name[16];
	int out;

	if (fd < 0)
		return -ENOENT;
	(void)snprintf(name, sizeof(name), "%d", fd);
	out = openat(devices->proc_fd, name, O_RDWR | O_CLOEXEC | flags);
	return out < 0 ? -errno : out;
}

static void close_all(int *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		close_fd(&fds[i]);
}

bool net_vhost_open(const struct net_devices *devices, unsigned int npairs, int *fds)
{
	for (unsigned int i = 0; i < npairs; i++) {
		fds[i] = reopen(devices, devices->vhost_fd, 0);
		if (fds[i] < 0) {
			close_all(fds, i);
			return false;
		}
	}
	return true;
}

/* ---- taps ---- */

static int attach_queue(const struct net_devices *devices, const char *name, unsigned int npairs,
			struct err *err)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	cleanup_close int fd = reopen(devices, devices->tun_fd, O_NONBLOCK);

	if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
		return err_set(err, ENODEV,
			       "/dev/net/tun is missing: load the host kernel's module (modprobe "
			       "tun)");
	if (fd < 0)
		return err_sys(err, -fd, "opening /dev/net/tun");
	if (npairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return errno == EPERM ? err_set(err, EPERM,
						"making a tap needs CAP_NET_ADMIN in the network "
						"namespace's user namespace")
				      : err_sys(err, errno, "making the tap '%s'", name);
	return take_fd(&fd);
}

/* In two steps: the kernel raises it before it looks at the address mode */
static int set_up(int sock, int ifindex, const struct net_link *link, const char *alias)
{
	struct ifinfomsg fixed = {.ifi_index = ifindex};
	const uint8_t mode = ADDR_GEN_MODE_NONE;
	struct netlink_message m;
	size_t families, inet6;
	int r;

	netlink_begin(&m, RTM_NEWLINK, 0, &fixed, sizeof(fixed));
	netlink_put_string(&m, IFLA_IFALIAS, alias);
	netlink_put_u32(&m, IFLA_MTU, link->mtu);
	families = netlink_nest(&m, IFLA_AF_SPEC);
	inet6 = netlink_nest(&m, AF_INET6);
	netlink_put(&m, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	netlink_nest_end(&m, inet6);
	netlink_nest_end(&m, families);
	r = netlink_send(sock, &m);
	if (r < 0)
		return r;
	fixed.ifi_flags = fixed.ifi_change = IFF_UP;
	netlink_begin(&m, RTM_NEWLINK, 0, &fixed, sizeof(fixed));
	return netlink_send(sock, &m);
}

int net_tap_open(int sock, const struct net_devices *devices, const struct net_link *link,
		 const char *alias, unsigned int npairs, int *fds, struct err *err)
{
	char name[IFNAMSIZ];
	unsigned int ifindex;
	int r = 0;

	(void)snprintf(name, sizeof(name), NET_TAP_PREFIX "%d", link->ifindex);
	for (unsigned int i = 0; i < npairs; i++) {
		fds[i] = attach_queue(devices, name, npairs, err);
		if (fds[i] < 0) {
			r = fds[i];
			close_all(fds, i);
			return r;
		}
	}
	ifindex = if_nametoindex(name);
	r = ifindex ? set_up(sock, (int)ifindex, link, alias) : -errno;
	if (r < 0) {
		close_all(fds, npairs);
		return err_sys(err, -r, "setting up the tap '%s'", name);
	}
	return (int)ifindex;
}

int net_tap_set_mtu(int sock, int ifindex, uint32_t mtu)
{
	const struct ifinfomsg fixed = {.ifi_index = ifindex};
	struct netlink_message m;

	netlink_begin(&m, RTM_NEWLINK, 0, &fixed, sizeof(fixed));
	netlink_put_u32(&m, IFLA_MTU, mtu);
	return netlink_send(sock, &m);
}

void net_tap_delete(int sock, int ifindex)
{
	const struct ifinfomsg fixed = {.ifi_index = ifindex};
	struct netlink_message m;

	if (ifindex <= 0)
		return;
	netlink_begin(&m, RTM_DELLINK, 0, &fixed, sizeof(fixed));
	(void)netlink_send(sock, &m);
}

/* ---- filters ---- */

static struct tcmsg qdisc_of(int ifindex)
{
	return (struct tcmsg){
		.tcm_ifindex = ifindex,
		.tcm_parent = TC_H_CLSACT,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
	};
}

static int add_qdisc(int sock, int ifindex)
{
	const struct tcmsg fixed = qdisc_of(ifindex);
	struct netlink_message m;

	netlink_begin(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &fixed, sizeof(fixed));
	netlink_put_string(&m, TCA_KIND, "clsact");
	return netlink_send(sock, &m);
}

static void delete_qdisc(int sock, int ifindex)
{
	const struct tcmsg fixed = qdisc_of(ifindex);
	struct netlink_message m;

	netlink_begin(&m, RTM_DELQDISC, 0, &fixed, sizeof(fixed));
	(void)netlink_send(sock, &m);
}

static void put_mirred(struct netlink_message *m, uint16_t attribute, int to)
{
	const struct tc_mirred mirred = {
		.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to};
	size_t actions = netlink_nest(m, attribute), action = netlink_nest(m, 1), options;

	netlink_put_string(m, TCA_ACT_KIND, "mirred");
	options = netlink_nest(m, TCA_ACT_OPTIONS);
	netlink_put(m, TCA_MIRRED_PARMS, &mirred, sizeof(mirred));
	netlink_nest_end(m, options);
	netlink_nest_end(m, action);
	netlink_nest_end(m, actions);
}

static void put_matchall(struct netlink_message *m, int to)
{
	size_t options;

	netlink_put_string(m, TCA_KIND, "matchall");
	options = netlink_nest(m, TCA_OPTIONS);
	put_mirred(m, TCA_MATCHALL_ACT, to);
	netlink_nest_end(m, options);
}

/* One key with no bits: everything */
static void put_u32(struct netlink_message *m, int to)
{
	struct {
		struct tc_u32_sel selector;
		struct tc_u32_key key;
	} everything = {.selector = {.flags = TC_U32_TERMINAL, .nkeys = 1}};
	size_t options;

	netlink_put_string(m, TCA_KIND, "u32");
	options = netlink_nest(m, TCA_OPTIONS);
	netlink_put(m, TCA_U32_SEL, &everything, sizeof(everything));
	put_mirred(m, TCA_U32_ACT, to);
	netlink_nest_end(m, options);
}

static void put_program(struct netlink_message *m, int fd)
{
	size_t options;

	netlink_put_string(m, TCA_KIND, "bpf");
	options = netlink_nest(m, TCA_OPTIONS);
	netlink_put_u32(m, TCA_BPF_FD, (uint32_t)fd);
	netlink_put_string(m, TCA_BPF_NAME, "caisson-answers");
	netlink_put_u32(m, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	netlink_nest_end(m, options);
}

/* @value: what @put wants */
static int add_filter(int sock, const struct tcmsg *fixed,
		      void (*put)(struct netlink_message *m, int value), int value)
{
	struct netlink_message m;

	netlink_begin(&m, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, fixed, sizeof(*fixed));
	put(&m, value);
	return netlink_send(sock, &m);
}

static struct tcmsg filter_of(int ifindex, uint32_t preference, uint32_t handle)
{
	return (struct tcmsg){
		.tcm_ifindex = ifindex,
		.tcm_parent = INGRESS_PARENT,
		.tcm_handle = handle,
		.tcm_info = TC_H_MAKE(preference << 16, htons(ETH_P_ALL)),
	};
}

static void delete_filter(int sock, int ifindex, uint32_t preference)
{
	const struct tcmsg fixed = filter_of(ifindex, preference, 0);
	struct netlink_message m;

	netlink_begin(&m, RTM_DELTFILTER, 0, &fixed, sizeof(fixed));
	(void)netlink_send(sock, &m);
}

struct filters {
	bool ours, others, answers;
	uint32_t handle;
};

static void on_filter(const struct netlink_entry *entry, void *arg)
{
	const struct tcmsg *fixed = entry->fixed;
	struct filters *found = arg;

	if (entry->type != RTM_NEWTFILTER)
		return;
	if (TC_H_MAJ(fixed->tcm_info) >> 16 == ANSWERS_PREFERENCE) {
		found->answers = true;
		return;
	}
	if (TC_H_MAJ(fixed->tcm_info) >> 16 != FILTER_PREFERENCE) {
		found->others = true;
		return;
	}
	found->ours = true;
	found->handle |= fixed->tcm_handle & FILTER_HANDLE_MASK;
}

static int find_filters(int sock, int ifindex, uint32_t parent, struct filters *out)
{
	const struct tcmsg fixed = {.tcm_ifindex = ifindex, .tcm_parent = parent};

	return netlink_dump(sock, RTM_GETTFILTER, &fixed, sizeof(fixed), on_filter, out);
}

int net_redirect(int sock, int from, int to, struct err *err)
{
	struct filters found = {0};
	struct tcmsg fixed;
	uint32_t handle;
	int r;

	/* u32 would take a second one */
	if (find_filters(sock, from, INGRESS_PARENT, &found) == 0 && found.ours)
		return err_set(err, EEXIST, "it is redirected already");
	r = add_qdisc(sock, from);
	handle = r == 0 ? FILTER_HANDLE_QDISC_OURS : FILTER_HANDLE_QDISC_OTHERS;
	if (r < 0 && r != -EEXIST)
		return err_sys(
			err, -r,
			"adding a clsact qdisc (the host's kernel needs CONFIG_NET_SCH_INGRESS: "
			"modprobe sch_ingress)");
	fixed = filter_of(from, FILTER_PREFERENCE, handle);
	r = add_filter(sock, &fixed, put_matchall, to);
	if (r == -ENOENT || r == -EOPNOTSUPP || r == -EINVAL)
		r = add_filter(sock, &fixed, put_u32, to);
	if (r < 0) {
		if (handle == FILTER_HANDLE_QDISC_OURS)
			delete_qdisc(sock, from);
		return err_sys(err, -r,
			       "redirecting packets (the host's kernel needs cls_matchall or "
			       "cls_u32, and act_mirred: modprobe -a cls_matchall act_mirred)");
	}
	return 0;
}

void net_redirect_remove(int sock, int ifindex)
{
	struct filters found = {0}, egress = {0};

	if (find_filters(sock, ifindex, INGRESS_PARENT, &found) < 0)
		return;
	if (found.answers)
		delete_filter(sock, ifindex, ANSWERS_PREFERENCE);
	if (!found.ours)
		return;
	delete_filter(sock, ifindex, FILTER_PREFERENCE);
	if ((found.handle & FILTER_HANDLE_QDISC_OURS) && !found.others &&
	    find_filters(sock, ifindex, EGRESS_PARENT, &egress) >= 0 && !egress.ours &&
	    !egress.others)
		delete_qdisc(sock, ifindex);
}

int net_answers_add(int sock, int from, int tap, struct err *err)
{
	const struct tcmsg fixed = filter_of(from, ANSWERS_PREFERENCE, 1);
	struct filters found = {0};
	cleanup_close int fd = -1;
	int r;

	if (find_filters(sock, from, INGRESS_PARENT, &found) == 0 && found.answers)
		return err_set(err, EEXIST, "it is there already");
	fd = net_answers_load(tap);
	if (fd < 0)
		return err_sys(err, -fd, "loading a BPF program");
	r = add_filter(sock, &fixed, put_program, fd);
	return r < 0 ? err_sys(err, -r, "adding a BPF filter (modprobe cls_bpf)") : 0;
}

void net_answers_remove(int sock, int from)
{
	delete_filter(sock, from, ANSWERS_PREFERENCE);
}
