/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's centre: listeners, the monitor's one connection, the reaper, and the end.
 *
 * The guest exists for its monitor: when the control connection closes, the machine is powered off at once, since nobody is
 * left to hear of anything. PID 1 never exits; a failure it cannot serve through is told to the machine.
 */
#define _GNU_SOURCE
#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "guest/container.h"
#include "guest/process.h"

#define SERVICE_NAME "caisson.agent.Agent"

struct container *agent_container(struct agent *agent, const char *id)
{
	for (struct container *c = agent->containers; c; c = c->next) {
		if (strcmp(c->id, id) == 0)
			return c;
	}
	return NULL;
}

/* ---- reaper ---- */

static struct process **pid_slot(struct agent *agent, pid_t pid)
{
	struct process **p = &agent->by_pid[(unsigned int)pid % AGENT_PID_BUCKETS];

	while (*p && (*p)->pid != pid)
		p = &(*p)->next_by_pid;
	return p;
}

void agent_watch_pid(struct agent *agent, struct process *process)
{
	struct process **head = &agent->by_pid[(unsigned int)process->pid % AGENT_PID_BUCKETS];

	process->next_by_pid = *head;
	*head = process;
}

void agent_unwatch_pid(struct agent *agent, struct process *process)
{
	struct process **slot = pid_slot(agent, process->pid);

	if (*slot == process)
		*slot = process->next_by_pid;
	process->next_by_pid = NULL;
}

/* One that is not known may be the successor of a child whose report has not been read yet */
static struct process *find_pid(struct agent *agent, pid_t pid)
{
	if (!*pid_slot(agent, pid)) {
		for (struct container *c = agent->containers; c; c = c->next) {
			if (c->state == CONTAINER_CREATING && c->init)
				process_read_reports(c->init);
		}
	}
	return *pid_slot(agent, pid);
}

static void on_child_signal(struct loop_signals *signals, int signo, pid_t sender)
{
	struct agent *agent = container_of(signals, struct agent, signals);
	struct process *process;
	int status;
	pid_t pid;

	(void)signo;
	(void)sender;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		process = find_pid(agent, pid);
		if (!process)
			continue; /* an orphan */
		agent_unwatch_pid(agent, process);
		process_on_exit(process, pid, status);
	}
}

static int start_reaper(struct agent *agent, struct err *err)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	agent->signals.on_signal = on_child_signal;
	return loop_signals_init(agent->loop, &agent->signals, &mask, err);
}

/* ---- exports ---- */

void agent_use_exports(struct agent *agent, const uint8_t *exports)
{
	for (unsigned int i = 0; i < MACHINE_EXPORTS_MAX; i++) {
		if (exports[i / 8] & (1u << (i % 8)))
			agent->export_users[i]++;
	}
}

void agent_release_exports(struct agent *agent, const uint8_t *exports)
{
	char path[256];

	for (unsigned int i = 0; i < MACHINE_EXPORTS_MAX; i++) {
		if (!(exports[i / 8] & (1u << (i % 8))) || --agent->export_users[i])
			continue;
		sockets_leave(&agent->sockets, i);
		/* An export that no mount holds any more can be taken back by the host; EINVAL: it was never mounted */
		(void)snprintf(path, sizeof(path), "%s/%u", agent->config->roots_dir, i);
		(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}

/* ---- network ---- */

int agent_follow_network(struct agent *agent, bool moved, struct err *err)
{
	const struct network *network = &agent->network;

	if (moved)
		(void)resolver_set(&agent->resolver, false, -1, NULL);
	return resolver_set(&agent->resolver, network->now && network->now->resolver,
			    network->netns_fd, err);
}

/* ---- end ---- */

/* A thread, because writing back may take long and the monitor waits as long as its Pings are answered */
static void *sync_main(void *arg)
{
	const struct agent_config *config = arg;

	sync();
	config->notify(MACHINE_AGENT_POWER_OFF, 0);
	return NULL;
}

static bool sync_in_thread(const struct agent_config *config)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sync_main, (void *)config) != 0)
		return false;
	(void)pthread_detach(thread);
	return true;
}

void agent_power_off(struct agent *agent, bool sync_files)
{
	if (sync_files) {
		if (getpid() == 1)
			(void)kill(-1, SIGKILL);
		if (sync_in_thread(agent->config))
			return;
		sync();
	}
	agent->config->notify(MACHINE_AGENT_POWER_OFF, 0);
	loop_quit(agent->loop, 0);
}

/* ---- the monitor's connection ---- */

static void on_control_closed(struct ttrpc_conn *conn, void *arg)
{
	struct agent *agent = arg;

	agent->control = NULL;
	ttrpc_conn_free(conn);
	agent_power_off(agent, false);
}

static void on_control(struct loop_source *source, uint32_t events)
{
	struct agent *agent = container_of(source, struct agent, listener);
	struct ttrpc_conn *conn;
	struct err err = {0};
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (agent->control || (agent->config->vsock && !streams_peer_is_host(fd))) {
		(void)close(fd);
		return;
	}
	conn = ttrpc_conn_new(agent->loop, fd, agent->services, on_control_closed, agent, &err);
	if (!conn)
		log_error("Cannot serve the monitor: %s", err.msg);
	agent->control = conn;
}

static int agent_init(struct agent *agent, const struct agent_config *config, struct err *err)
{
	int r;

	agent->config = config;
	agent->network = (struct network){.slots = config->slots ?: &network_slots_machine,
					  .netns_fd = -1};
	agent->services[0] = (struct ttrpc_service){
		.name = SERVICE_NAME, .methods = agent_methods, .arg = agent};
	agent->cgroup_fd = open(config->cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (agent->cgroup_fd < 0)
		return err_sys(err, errno, "cannot open '%s'", config->cgroup_dir);
	agent->loop = loop_new(err);
	if (!agent->loop)
		return -err->code;
	r = start_reaper(agent, err);
	if (r < 0)
		return r;
	r = streams_init(&agent->streams, agent->loop, config->stream_fd, config->vsock, err);
	if (r < 0)
		return r;
	agent->passages = (struct passages){.loop = agent->loop,
					    .connect_host = config->connect_host ?: dial_vsock};
	sockets_init(&agent->sockets, &agent->passages, config->roots_dir);
	resolver_init(&agent->resolver, &agent->passages,
		      config->connect_host ? -1 : agent->cgroup_fd);
	agent->listener = (struct loop_source){.fd = config->agent_fd, .on_event = on_control};
	return loop_add(agent->loop, &agent->listener, EPOLLIN, err);
}

int agent_run(const struct agent_config *config, struct err *err)
{
	static struct agent agent; /* as long as the machine */
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	r = agent_init(&agent, config, err);
	if (r < 0)
		return r;
	config->notify(MACHINE_AGENT_READY, 0);
	r = loop_run(agent.loop);
	return err_sys(err, r < 0 ? -r : EIO, "the agent's loop ended");
}
