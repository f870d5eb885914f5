/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets of the host's that the guest has found: see shim/sockets.h. */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

/* ---- whose connection ---- */

/*
 * In the guest, as on the host, a process of a user namespace has the ids that stand for its own outside. The agent says them, and a
 * guest that has been taken over says any: those of others are refused. Without a user namespace root may be all.
 */
bool sockets_may_be(const struct oci_config *config, uint32_t uid, uint32_t gid)
{
	if (!config->linux_.namespaces[OCI_NS_USER].present)
		return true;
	return oci_idmap_has_host(&config->linux_.uid_mappings, uid) &&
	       oci_idmap_has_host(&config->linux_.gid_mappings, gid);
}

/* Datagrams of one socket come together, whoever sent them: they are of the container's root */
static void set_sender(const struct oci_config *config, struct ucred *out)
{
	uint32_t uid = 0, gid = 0;

	/* config.json without a mapping for root is not accepted */
	if (config->linux_.namespaces[OCI_NS_USER].present) {
		(void)oci_idmap_to_host(&config->linux_.uid_mappings, 0, &uid);
		(void)oci_idmap_to_host(&config->linux_.gid_mappings, 0, &gid);
	}
	*out = (struct ucred){.pid = getpid(), .uid = uid, .gid = gid};
}

/* ---- connecting ---- */

/* There is no connectat(): the name is relative to /proc/self/fd, as /proc itself may be covered by the container's files */
int socket_connect(int proc_fd, int fd, int type)
{
	cleanup_close int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), sock = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int r;

	sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (cwd < 0 || sock < 0 || fchdir(proc_fd) < 0)
		return -errno;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%d", fd);
	r = connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	(void)!fchdir(cwd);
	return r < 0 ? r : take_fd(&sock);
}

/* What setresuid() takes from the effective set is still permitted */
static void raise_caps(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	(void)syscall(SYS_capset, &header, data);
}

/* As @uid and @gid where we may be them: root's monitor. Another one is one user with and without this */
static int connect_as(struct shim *s, const struct found_socket *found, uint32_t uid, uint32_t gid)
{
	uid_t own_uid = geteuid();
	gid_t own_gid = getegid();
	int dumpable = prctl(PR_GET_DUMPABLE), r;

	if (setresgid((gid_t)-1, gid, (gid_t)-1) == 0 && setresuid((uid_t)-1, uid, (uid_t)-1) == 0)
		raise_caps();
	r = socket_connect(s->sockets.proc_fd, found->fd,
			   found->datagram ? SOCK_DGRAM : SOCK_STREAM);
	if (setresuid((uid_t)-1, own_uid, (uid_t)-1) < 0 ||
	    setresgid((gid_t)-1, own_gid, (gid_t)-1) < 0)
		log_error("The monitor cannot be itself again: %s", err_reason(errno));
	if (dumpable == 1)
		(void)prctl(PR_SET_DUMPABLE, 1);
	return r;
}

/* ---- the table ---- */

static void forget(struct found_socket *found)
{
	close_fd(&found->fd);
	*found = (struct found_socket){.fd = -1};
}

static struct found_socket *find(struct shim *s, uint32_t id)
{
	for (int i = 0; id && i < SOCKETS_MAX; i++) {
		if (s->sockets.all[i].id == id)
			return &s->sockets.all[i];
	}
	return NULL;
}

static void answer(struct shim *s, uint32_t id, bool relayed)
{
	const struct vmm_msg msg = {
		.type = VMM_MSG_SOCKET_DONE, .value = id, .flags = relayed ? 1 : 0};
	int r = vmm_send(&s->vmm, &msg, -1);

	if (r < 0)
		log_debug("Cannot tell the vmm of socket %u: %s", id, err_reason(-r));
}

/* The program of the host's has gone, or its place is needed: the next look-up asks again */
static void stop(struct shim *s, struct found_socket *found)
{
	const struct agent_socket socket = {.id = found->id, .stop = true};

	answer(s, found->id, false);
	if (found->relayed)
		(void)agent_relay_socket(s, &socket, NULL, NULL);
	forget(found);
}

static bool is_directory(const struct shim *s, uint32_t export_id)
{
	for (unsigned int i = 0; i < s->exports->nbinds; i++) {
		if (s->exports->binds[i].export_id == export_id)
			return s->exports->binds[i].directory;
	}
	return true;
}

/* Numbers count up: the smallest is the oldest. Return: a free entry, NULL if all have to stay */
static struct found_socket *make_room(struct shim *s)
{
	struct found_socket *oldest = NULL;

	for (int i = 0; i < SOCKETS_MAX; i++) {
		struct found_socket *found = &s->sockets.all[i];

		if (!found->id)
			return found;
		if (!found->asked && !found->fixed && (!oldest || found->id < oldest->id))
			oldest = found;
	}
	if (oldest)
		stop(s, oldest);
	return oldest;
}

/* ---- found ---- */

/* Connecting a datagram socket disturbs nobody, and how it fails tells the kind; Return: 0 or -errno */
static int probe(struct shim *s, int fd, bool *datagram)
{
	int r = socket_connect(s->sockets.proc_fd, fd, SOCK_DGRAM);

	*datagram = r >= 0;
	if (r >= 0)
		(void)close(r);
	return r == -EPROTOTYPE || r >= 0 ? 0 : r;
}

static void on_bound(const struct ttrpc_result *result, void *arg)
{
	struct found_socket *found = arg;
	struct shim *s = found->shim;
	uint32_t id = found->id;
	struct err err = {0};

	found->asked = false;
	found->relayed = agent_error(result, &err) == 0;
	if (!found->relayed) {
		log_debug("The agent cannot relay socket %u: %s", id, err.msg);
		forget(found);
	}
	if (!s->guest_gone)
		answer(s, id, err.code == 0);
}

static int ask_agent(struct shim *s, struct found_socket *found)
{
	const struct agent_socket socket = {
		.id = found->id, .export_id = found->export_id, .datagram = found->datagram};
	int r;

	found->shim = s;
	found->asked = true;
	r = agent_relay_socket(s, &socket, on_bound, found);
	if (r < 0)
		found->asked = false;
	return r;
}

void sockets_on_found(struct shim *s, uint32_t id, uint32_t export_id, int fd)
{
	struct found_socket *found = NULL;
	cleanup_close int owned = fd;
	bool datagram = false;
	int r = id && !find(s, id) ? probe(s, fd, &datagram) : -EINVAL;

	if (r == 0) {
		found = make_room(s);
		r = found ? 0 : -EBUSY;
	}
	if (r == 0) {
		*found = (struct found_socket){.id = id,
					       .export_id = export_id,
					       .fd = take_fd(&owned),
					       .datagram = datagram,
					       .fixed = !is_directory(s, export_id)};
		r = ask_agent(s, found);
	}
	if (r == 0)
		return;
	if (found)
		forget(found);
	log_debug("A socket of the host's is not relayed: %s", err_reason(-r));
	answer(s, id, false);
}

static int check_user(const struct oci_config *config, const struct found_socket *found,
		      uint32_t *uid, uint32_t *gid, struct socket_kind *out)
{
	static struct log_ratelimit limit;

	out->datagram = found->datagram;
	set_sender(config, &out->sender);
	if (found->datagram) {
		*uid = out->sender.uid;
		*gid = out->sender.gid;
	} else if (!sockets_may_be(config, *uid, *gid)) {
		log_guest_warn(&limit,
			       "The guest connects to a socket as user %u and group %u, which "
			       "linux.uidMappings and gidMappings do not have: refused",
			       *uid, *gid);
		return -EPERM;
	}
	return 0;
}

int sockets_connect(struct shim *s, uint32_t id, uint32_t uid, uint32_t gid,
		    struct socket_kind *out)
{
	struct found_socket *found = find(s, id);
	int r;

	if (!found || !found->relayed)
		return -ENOENT;
	r = check_user(s->args->config, found, &uid, &gid, out);
	if (r < 0)
		return r;
	r = connect_as(s, found, uid, gid);
	if (r < 0)
		log_debug("Cannot connect to a socket of the host's: %s", err_reason(-r));
	/* Nobody is there any more, or somebody else: the next one in the guest is refused at once, or finds that */
	if (r == -ECONNREFUSED || r == -EPROTOTYPE)
		stop(s, found);
	return r;
}

int sockets_open(struct shim *s, struct err *err)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		s->sockets.all[i].fd = -1;
	s->sockets.proc_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->sockets.proc_fd < 0 ? err_sys(err, errno, "opening /proc/self/fd") : 0;
}

void sockets_release(struct shim *s)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (s->sockets.all[i].id)
			forget(&s->sockets.all[i]);
	close_fd(&s->sockets.proc_fd);
}
