/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers: made, started, entered, removed.
 *
 * Create and Exec answer later: the reply travels with the process (guest/process.c). Removal is a loop of "kill the cgroup, try
 * to remove it", tried again whenever the reaper has reaped one of its processes and, in case something dies without our
 * being its parent, from a timer. A container whose Create has failed removes itself and answers then, so that the monitor
 * may use the id again at once.
 */
#define _GNU_SOURCE
#include "guest/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/child.h"
#include "guest/device_numbers.h"
#include "guest/limits.h"
#include "guest/support.h"
#include "guest/userns.h"

#define REMOVE_RETRY_MS 100
#define PF_EXITING 0x4u /* the kernel's, in /proc/PID/stat */

static enum ttrpc_code code_of(int error)
{
	switch (error) {
	case -EINVAL:
	case -EFBIG:
		return TTRPC_INVALID_ARGUMENT;
	case -ENOTSUP:
		return TTRPC_UNIMPLEMENTED;
	case -EEXIST:
		return TTRPC_ALREADY_EXISTS;
	case -ENOMEM:
	case -E2BIG:
		return TTRPC_RESOURCE_EXHAUSTED;
	case -ENOENT:
		return TTRPC_NOT_FOUND;
	case -EBUSY:
		return TTRPC_FAILED_PRECONDITION;
	default:
		return TTRPC_INTERNAL;
	}
}

static void container_free(struct container *container)
{
	struct agent *agent = container ? container->agent : NULL;
	struct container **p;
	struct err err = {0};

	if (!container)
		return;
	for (p = &agent->containers; *p && *p != container;)
		p = &(*p)->next;
	if (*p) {
		*p = container->next;
		agent->ncontainers--;
	}
	if (container->owns_network && (network_leave(&agent->network, &err) < 0 ||
					agent_follow_network(agent, true, &err) < 0))
		log_warn("%s", err.msg);
	while (container->processes)
		process_delete(container->processes);
	if (container->exports_used)
		agent_release_exports(agent, container->exports);
	loop_timer_release(&container->timer);
	close_fd(&container->device_program_fd);
	freezer_release(container);
	oom_release(container);
	ps_release(container);
	close_fd(&container->cgroup_fd);
	oci_config_free(container->config);
	filter_release(&container->filter);
	free(container->bundle);
	free(container->mount_exports);
	free(container);
}
DEFINE_CLEANUP(container)

struct process *container_process(struct container *container, const char *exec_id)
{
	if (!*exec_id)
		return container->init;
	for (struct process *p = container->processes; p; p = p->next) {
		if (strcmp(p->exec_id, exec_id) == 0)
			return p;
	}
	return NULL;
}

/* ---- create ---- */

static int use_export(struct container *container, uint32_t export, struct err *err)
{
	if (export >= MACHINE_EXPORTS_MAX)
		return err_set(err, EINVAL, "export %u does not exist", export);
	container->exports[export / 8] |= (uint8_t)(1u << (export % 8));
	return 0;
}

static int take_exports(struct container *container, const struct container_request *request,
			struct err *err)
{
	size_t nmounts = container->config->nmounts;
	int r = use_export(container, request->root_export, err);

	if (r < 0)
		return r;
	container->root_export = request->root_export;
	container->mount_exports = calloc(nmounts + 1, sizeof(*container->mount_exports));
	if (!container->mount_exports)
		return err_sys(err, ENOMEM, "cannot prepare mounts");
	for (size_t i = 0; i < nmounts; i++)
		container->mount_exports[i] = -1;
	for (size_t i = 0; i < request->nsources; i++) {
		if (request->sources[i].mount_index >= nmounts)
			return err_set(err, EINVAL, "mounts[%u] does not exist",
				       request->sources[i].mount_index);
		r = use_export(container, request->sources[i].export_id, err);
		if (r < 0)
			return r;
		container->mount_exports[request->sources[i].mount_index] =
			(int32_t)request->sources[i].export_id;
	}
	agent_use_exports(container->agent, container->exports);
	container->exports_used = true;
	return 0;
}

/* A profile and a filter come together: that one got lost on the way must not mean "unfiltered" */
static int take_filter(struct container *container, const struct container_request *request,
		       struct err *err)
{
	if (!container->config->linux_.seccomp != !request->has_seccomp)
		return err_set(err, EINVAL, "linux.seccomp: %s",
			       request->has_seccomp ? "a filter came without a profile"
						    : "no filter came with the profile");
	return request->has_seccomp ? filter_take(&container->filter, request->seccomp,
						  request->seccomp_len, request->seccomp_flags, err)
				    : 0;
}

static int check_request(struct agent *agent, const struct container_request *request,
			 struct err *err)
{
	if (!support_id_is_valid(request->id))
		return err_set(err, EINVAL, "'%.64s' is not a valid container id", request->id);
	if (agent_container(agent, request->id))
		return err_set(err, EEXIST, "container '%s' exists in the guest", request->id);
	if (agent->ncontainers >= AGENT_CONTAINERS_MAX)
		return err_set(err, E2BIG, "a guest holds at most %d containers",
			       AGENT_CONTAINERS_MAX);
	return 0;
}

static int container_new(struct agent *agent, const struct container_request *request,
			 struct container **out, struct err *err)
{
	CLEANUP(container) struct container *container = NULL;
	int r = check_request(agent, request, err);

	if (r < 0)
		return r;
	container = calloc(1, sizeof(*container));
	if (!container)
		return err_sys(err, ENOMEM, "cannot prepare a container");
	container->agent = agent;
	container->cgroup_fd = -1;
	container->device_program_fd = -1;
	(void)snprintf(container->id, sizeof(container->id), "%s", request->id);
	container->bundle = strdup(request->bundle);
	if (!container->bundle)
		return err_sys(err, ENOMEM, "cannot prepare a container");
	r = oci_config_parse((const char *)request->config, request->config_len, &container->config,
			     err);
	if (r < 0)
		return r;
	r = support_check_config(container->config, err);
	if (r < 0)
		return r;
	r = device_numbers_resolve(container->config, "/sys", err);
	if (r < 0)
		return r;
	r = take_filter(container, request, err);
	if (r < 0)
		return r;
	r = take_exports(container, request, err);
	if (r < 0)
		return r;
	container->cgroup_fd = cgroup_make(agent->cgroup_fd, container->id, err);
	if (container->cgroup_fd < 0)
		return container->cgroup_fd;
	r = container_limit(container, err);
	if (r == 0)
		r = container_give_cgroup(container, err);
	if (r < 0) {
		(void)cgroup_remove(agent->cgroup_fd, container->id);
		return r;
	}
	oom_watch(container);
	container->next = agent->containers;
	agent->containers = container;
	agent->ncontainers++;
	*out = take_ptr(&container);
	return 0;
}

static void container_init_args(struct container *container, struct child_args *args)
{
	*args = (struct child_args){
		.agent = container->agent->config,
		.id = container->id,
		.bundle = container->bundle,
		.config = container->config,
		.process = &container->config->process,
		.filter = container->filter.program.n ? &container->filter : NULL,
		.is_init = true,
		.root_export = container->root_export,
		.mount_exports = container->mount_exports,
		.container_pidfd = -1,
		.stdio = {-1, -1, -1},
	};
}

void container_create(struct agent *agent, const struct container_request *request,
		      struct ttrpc_call *call)
{
	struct container *container = NULL;
	struct process_launch launch = {.pidns_fd = -1};
	struct child_args args;
	struct err err = {0};
	int r = container_new(agent, request, &container, &err);

	if (r < 0) {
		ttrpc_reply_error(call, code_of(r), "%s", err.msg);
		return;
	}
	container_init_args(container, &args);
	launch.args = &args;
	/* That of a user namespace is made with it, by the child */
	if (!userns_is_wanted(container->config))
		launch.clone_flags = child_namespace_flags(container->config) & CLONE_NEWPID;
	launch.cgroup_fd = container->cgroup_fd;
	memcpy(launch.tokens, request->tokens, sizeof(launch.tokens));
	container->init = process_new(container, "");
	r = container->init ? process_launch(container->init, &launch, &err)
			    : err_sys(&err, ENOMEM, "cannot prepare a process");
	if (r < 0) {
		ttrpc_reply_error(call, code_of(r), "%s", err.msg);
		(void)cgroup_remove(agent->cgroup_fd, container->id);
		container_free(container);
		return;
	}
	container->create_call = call;
}

/* A network namespace of its own, which its user namespace owns, gets the guest's interfaces */
static int give_network(struct container *container, struct err *err)
{
	cleanup_close int netns = -1;
	char path[64];
	int r;

	if (!(child_namespace_flags(container->config) & CLONE_NEWNET))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)container->init->pid);
	netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return err_sys(err, errno, "cannot open the container's network namespace");
	container->owns_network = container->agent->network.netns_fd < 0;
	r = network_enter(&container->agent->network, netns, err);
	return r < 0 ? r : agent_follow_network(container->agent, true, err);
}

void container_on_ready(struct container *container)
{
	Caisson__Agent__CreateResponse response = CAISSON__AGENT__CREATE_RESPONSE__INIT;
	struct ttrpc_call *call = take_ptr(&container->create_call);
	struct err err = {0};

	if (container->state != CONTAINER_CREATING || !call)
		return;
	if (give_network(container, &err) < 0) {
		container->error.code = TTRPC_INTERNAL;
		(void)snprintf(container->error.text, sizeof(container->error.text), "%s", err.msg);
		container->create_call = call;
		container_delete(container, NULL);
		return;
	}
	container->state = CONTAINER_CREATED;
	response.pid = container->init->pid;
	ttrpc_reply_message(call, &response);
}

/* ---- start, exec ---- */

void container_start(struct container *container, struct ttrpc_call *call)
{
	switch (container->state) {
	case CONTAINER_CREATED:
		if (container->init->state == PROCESS_WAITING) {
			process_go(container->init, call);
			return;
		}
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "the container is being started");
		return;
	case CONTAINER_RUNNING:
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "cannot start an already running container");
		return;
	case CONTAINER_STOPPED:
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "cannot start a container that has stopped");
		return;
	default:
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "the container is being made or removed");
	}
}

static int copy_rlimits(struct oci_process *process, const struct oci_process *from,
			struct err *err)
{
	process->rlimits = calloc(from->nrlimits, sizeof(*process->rlimits));
	if (!process->rlimits)
		return err_sys(err, ENOMEM, "cannot prepare a process");
	process->nrlimits = from->nrlimits;
	memcpy(process->rlimits, from->rlimits, from->nrlimits * sizeof(*process->rlimits));
	return 0;
}

static int copy_affinity(struct oci_cpu_affinity *out, const struct oci_cpu_affinity *from,
			 struct err *err)
{
	out->initial = from->initial ? strdup(from->initial) : NULL;
	out->final = from->final ? strdup(from->final) : NULL;
	if ((from->initial && !out->initial) || (from->final && !out->final))
		return err_sys(err, ENOMEM, "cannot prepare a process");
	return 0;
}

/* What an exec'd process does not say itself comes from the container, as in runc */
static int fill_process(struct oci_process *process, const struct oci_config *config,
			struct err *err)
{
	const struct oci_process *from = &config->process;
	int r = 0;

	if (!process->has_capabilities && from->has_capabilities) {
		process->has_capabilities = true;
		memcpy(process->caps, from->caps, sizeof(process->caps));
	}
	if (!process->user.has_umask && from->user.has_umask) {
		process->user.has_umask = true;
		process->user.umask = from->user.umask;
	}
	if (!process->has_oom_score_adj && from->has_oom_score_adj) {
		process->has_oom_score_adj = true;
		process->oom_score_adj = from->oom_score_adj;
	}
	if (!process->scheduler.present)
		process->scheduler = from->scheduler;
	if (!process->io_priority.present)
		process->io_priority = from->io_priority;
	if (!process->exec_cpu_affinity.initial && !process->exec_cpu_affinity.final)
		r = copy_affinity(&process->exec_cpu_affinity, &from->exec_cpu_affinity, err);
	if (r == 0 && !process->nrlimits && from->nrlimits)
		r = copy_rlimits(process, from, err);
	return r < 0 ? r : support_check_process(process, err);
}

static int check_exec(struct container *container, const char *exec_id, struct err *err)
{
	if (container->state != CONTAINER_CREATED && container->state != CONTAINER_RUNNING)
		return err_set(err, EBUSY, "cannot exec in a stopped container");
	if (!support_id_is_valid(exec_id))
		return err_set(err, EINVAL, "'%.64s' is not a valid exec id", exec_id);
	if (container_process(container, exec_id))
		return err_set(err, EEXIST, "exec id '%s' exists in the container", exec_id);
	if (container->nprocesses >= AGENT_PROCESSES_MAX)
		return err_set(err, E2BIG, "a container holds at most %d started processes",
			       AGENT_PROCESSES_MAX);
	return 0;
}

/* The kernel says so late: a pid namespace takes no process any more as soon as its first one has begun to exit */
static bool is_ending(pid_t pid)
{
	cleanup_free char *text = NULL;
	unsigned int flags = 0;
	char path[32], *name_end;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return true;
	name_end = strrchr(text, ')');
	/* state, five numbers, flags */
	return !name_end || sscanf(name_end, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1 ||
	       (flags & PF_EXITING);
}

static int launch_exec(struct container *container, struct process *process,
		       const struct oci_process *spec, const struct container_exec_request *request,
		       struct err *err)
{
	cleanup_close int sub_cgroup = -1;
	struct child_args args;
	int r;
	struct process_launch launch = {
		.args = &args,
		.pidns_fd = child_namespace_flags(container->config) & CLONE_NEWPID
				    ? container->init->pidfd
				    : -1,
		.cgroup_fd = container->cgroup_fd,
		.neighbour = container->init->pid,
		.cgroup_root_fd = container->agent->cgroup_fd,
	};

	container_init_args(container, &args);
	args.is_init = false;
	args.process = spec;
	args.container_pidfd = container->init->pidfd;
	memcpy(launch.tokens, request->tokens, sizeof(launch.tokens));
	if (*request->cgroup) {
		sub_cgroup = cgroup_open_below(container->cgroup_fd, request->cgroup, err);
		if (sub_cgroup < 0)
			return sub_cgroup;
		/* There and nowhere else */
		launch.cgroup_fd = sub_cgroup;
		launch.neighbour = 0;
	}
	r = process_launch(process, &launch, err);
	/* The reaper may not have come to it yet; ENOMEM is clone(2)'s word for it */
	if ((r == -ESRCH || r == -ENOMEM) && is_ending(container->init->pid))
		return err_set(err, EBUSY, "cannot exec in a stopped container");
	return r;
}

void container_exec(struct container *container, const struct container_exec_request *request,
		    struct ttrpc_call *call)
{
	CLEANUP(oci_process) struct oci_process *spec = NULL;
	struct process *process = NULL;
	struct err err = {0};
	int r = check_exec(container, request->exec_id, &err);

	if (r == 0)
		r = oci_process_parse((const char *)request->json, request->len, &spec, &err);
	if (r == 0)
		r = fill_process(spec, container->config, &err);
	if (r == 0) {
		process = process_new(container, request->exec_id);
		r = process ? launch_exec(container, process, spec, request, &err)
			    : err_sys(&err, ENOMEM, "cannot prepare a process");
	}
	if (r < 0) {
		if (process) {
			stdio_release(&process->stdio);
			process_delete(process);
		}
		ttrpc_reply_error(call, code_of(r), "%s", err.msg);
		return;
	}
	process->call = call;
}

/* ---- end ---- */

/*
 * All that is left of it. By its cgroup, and by name what we have started: without a cgroup namespace a container may have left
 * its cgroup, and of one that is threaded the kernel kills nothing.
 */
static void kill_all(const struct container *container)
{
	(void)cgroup_signal(container->cgroup_fd, SIGKILL);
	for (struct process *p = container->processes; p; p = p->next)
		(void)process_signal(p, SIGKILL);
}

void container_on_exit(struct container *container, struct process *process)
{
	struct ttrpc_call *call = take_ptr(&container->create_call);

	if (call) {
		/* It never got ready: go away, then say why */
		if (!container->error.code)
			container->error = process->error;
		container->create_call = call;
		if (container->state != CONTAINER_DELETING)
			container_delete(container, NULL);
		return;
	}
	if (container->state != CONTAINER_DELETING)
		container->state = CONTAINER_STOPPED;
	freezer_release(container);
	/* With a pid namespace the kernel has killed all others; without one they would be left over */
	kill_all(container);
}

static bool has_live_process(const struct container *container)
{
	for (const struct process *p = container->processes; p; p = p->next) {
		if (p->state != PROCESS_ENDED && p->pid)
			return true;
	}
	return false;
}

static void answer_removed(struct container *container, const char *problem)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	struct ttrpc_call *call = take_ptr(&container->create_call);

	if (call)
		ttrpc_reply_error(call,
				  container->error.code ? (enum ttrpc_code)container->error.code
							: TTRPC_INTERNAL,
				  "%s", container->error.text);
	call = take_ptr(&container->delete_call);
	if (call && problem)
		ttrpc_reply_error(call, TTRPC_DEADLINE_EXCEEDED, "%s", problem);
	else if (call)
		ttrpc_reply_message(call, &empty);
}

void container_try_remove(struct container *container)
{
	int r;

	if (container->state != CONTAINER_DELETING || has_live_process(container))
		return;
	r = cgroup_remove(container->agent->cgroup_fd, container->id);
	if (r == -EBUSY)
		return;
	if (r < 0)
		log_warn("Cannot remove cgroup '%s': %s, ignoring", container->id, err_reason(-r));
	answer_removed(container, NULL);
	container_free(container);
}

static void on_remove_timer(struct loop_timer *timer)
{
	struct container *container = container_of(timer, struct container, timer);

	if (io_now_ms() > container->deadline_ms) {
		answer_removed(container, "processes of the container cannot be killed");
		return;
	}
	kill_all(container);
	(void)loop_timer_arm(container->agent->loop, timer, REMOVE_RETRY_MS);
	container_try_remove(container);
}

void container_delete(struct container *container, struct ttrpc_call *call)
{
	if (container->delete_call) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION,
				  "the container is being removed");
		return;
	}
	container->delete_call = call;
	container->state = CONTAINER_DELETING;
	container->deadline_ms = io_now_ms() + AGENT_SETUP_TIMEOUT_MS;
	container->timer.on_expire = on_remove_timer;
	kill_all(container);
	(void)loop_timer_arm(container->agent->loop, &container->timer, REMOVE_RETRY_MS);
}
