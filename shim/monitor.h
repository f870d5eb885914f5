/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's own state, shared by the files of shim/ that make it up; nobody else includes this.
 *
 *   spawn.c      the fork, seen from the command            guest.c   the vmm's messages, the guest kernel's log
 *   monitor.c    the steps of "create", serving, leaving    agent.c   calls to the agent
 *   isolate.c    session, namespaces, the view of files     stdio.c   streams, relays, terminal
 *   server.c     the control socket, exec                   end.c     how a container ends; heartbeat
 *   hooks.c      createContainer, and waiting for those that the command runs
 *   pause.c      pausing and resuming                       inspect.c processes, figures, events
 *   oom.c        a kill for lack of memory, shown in the host's cgroup (oom.h)
 *   network.c    the guest's network follows the namespace's (network.h has the rest)
 *
 * One process, one thread, one loop. During "create" the steps run one after another and turn the loop themselves
 * (shim_wait()); afterwards everything happens in callbacks.
 */
#ifndef SHIM_MONITOR_H
#define SHIM_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm/vmm.h"
#include "lib/loop.h"
#include "lib/relay.h"
#include "lib/ttrpc.h"
#include "shim/control.h"
#include "shim/exports.h"
#include "shim/network.h"
#include "shim/protocol.h"
#include "shim/relays.h"
#include "shim/sockets.h"

#define SHIM_CREATE_TIMEOUT_MS 120000 /* Hello and Create together */
#define SHIM_DRAIN_TIMEOUT_MS 10000   /* without a byte of output after the container's end */
#define SHIM_SHUTDOWN_TIMEOUT_MS \
	600000 /* from Shutdown to the guest's end, while it gives signs of life */
#define SHIM_STOP_TIMEOUT_MS 5000 /* from STOP to killing the vmm */
#define SHIM_PING_MISSED_MAX 3	  /* unanswered intervals: the guest hangs */
#define SHIM_CLIENTS_MAX 192	  /* connections to the control socket; below TTRPC_CALLS_MAX */
#define SHIM_CLIENT_IDLE_MS 5000  /* for a client's first request */
#define SHIM_LISTEN_AGAIN_MS 1000
#define SHIM_EXIT_GUEST_DIED 255 /* the guest died, not the container's process */
#define SHIM_EXIT_KILLED 137

#define STREAM_TERMINAL 1 /* index of the token of a terminal's stream (guest/agent.proto, Stdio) */
#define SHIM_OOM_INTERVAL_MS 100    /* between two notices of the guest's */
#define SHIM_OOM_SHOWN_MS 1000	    /* between two kills that the host's cgroup shows */
#define SHIM_FAILURE_FILE "failure" /* in the state directory: why the guest died */

enum shim_phase {
	SHIM_CREATING,
	SHIM_SERVING,	    /* created or running */
	SHIM_DRAINING,	    /* the container's process has ended, output may still come */
	SHIM_SHUTTING_DOWN, /* the guest has been asked to end */
};

struct shim;

struct shim_relay {
	struct relay relay;
	struct shim *shim;
	bool active;
};

struct shim_stdio {
	bool terminal;
	int fds[3]; /* owned: private ends of the container's stdio; with a terminal [0] is the slave */
	int master;	/* owned until it has been sent; -1 otherwise */
	int streams[3]; /* owned: our ends of the streams, until the relays have them */
	uint64_t tokens[3];
	struct shim_relay relays[3]; /* in, out, err */
	struct loop_timer drain_timer;
	uint64_t drained_bytes; /* delivered when the timer was armed */
};

struct shim_log {		   /* the guest kernel's log */
	struct loop_source source; /* .fd owned, -1 without */
	char line[512];
	size_t len;
	uint64_t refilled_ms;
	size_t budget; /* bytes that may still be logged */
	bool skipping;
};

enum shim_net_slot_state {
	NET_SLOT_FREE,
	NET_SLOT_ADDING,   /* the vmm has been asked */
	NET_SLOT_READY,	   /* the agent may have it */
	NET_SLOT_FAILED,   /* not to be had; not tried again until the container starts */
	NET_SLOT_LEAVING,  /* the agent has to let go */
	NET_SLOT_REMOVING, /* the vmm has been asked */
};
struct shim_net_slot {
	enum shim_net_slot_state state;
	int ifindex;  /* of the interface that it stands for */
	int tap;      /* ifindex, 0: none */
	bool answers; /* those for the host's side do not go there */
	uint32_t mtu;
	char name[IFNAMSIZ];
};
struct shim_network {
	bool followed; /* the namespace is the container's */
	int user;      /* a process that was in it before us, 0: none */
	char user_name[16];
	bool noted; /* the state directory says that things of ours may be there */
	int sock;   /* owned: netlink */
	struct net_devices devices;
	struct loop_source events; /* .fd owned */
	struct loop_timer timer;
	bool waiting;		/* for the timer */
	struct net_state state; /* the last scan */
	struct shim_net_slot slots[MACHINE_LATE_SLOTS];
	uint8_t *sent; /* owned: what the agent was told last */
	size_t sent_len;
	bool active;			    /* the agent can be told */
	bool dirty, told, calling, settled; /* see network.c */
	bool no_answers;		    /* the host's side is not to get any: that was said */
	struct err error;		    /* what went wrong in this round */
	void (*on_settled)(struct shim *shim, const struct err *err, void *arg);
	void *on_settled_arg;
};

struct client;

struct shim {
	const struct monitor_args *args; /* borrowed from the command, whose memory was forked */
	struct exports *exports;
	int report_fd; /* owned: to monitor_spawn(); -1 once reported */
	int state_fd, netns_fd, console_socket_fd, failure_fd; /* owned */
	int cgroup_fd; /* owned: the container's cgroup on the host, -1 without */
	int exe_fd, kvm_fd, kernel_fd, initramfs_fd; /* owned, until the vmm has them */

	struct loop *loop;
	struct loop_signals signals;
	struct loop_source report_source;
	struct loop_source listener; /* control socket; .fd owned */
	struct client *clients;
	unsigned int nclients, exec_counter;
	struct loop_timer server_timer; /* idle clients, and the listener's pause */
	bool listener_paused;		/* there was no descriptor for a connection */

	struct vmm vmm;
	struct loop_source vmm_source;
	bool vmm_ready;			    /* the agent listens */
	bool guest_gone;		    /* the vmm has ended */
	char guest_text[VMM_TEXT_MAX + 64]; /* how, in words */
	int vmm_stat_fd;		    /* owned: its /proc/PID/stat, -1 without */
	uint64_t vmm_ticks;		    /* CPU time that it had used at the last Ping */
	struct shim_log guest_log;

	struct shim_network network;
	struct relays relays;
	struct sockets sockets;

	struct client *memory_client; /* who waits for memory to be added; NULL */
	uint64_t memory_added;	      /* by the vmm, in all */
	uint64_t memory_wanted;	      /* the same, as it shall be */
	bool memory_granted;	      /* the vmm has, the agent is being waited for */

	struct ttrpc_conn *agent;
	struct loop_timer agent_timer;
	uint64_t next_token;
	struct shim_stdio stdio;
	bool container_exists; /* the agent has it */

	enum shim_phase phase;
	bool hooks_done;       /* the command has run its hooks */
	bool proc_shown;       /* isolate_show() has attached a /proc */
	bool paused;	       /* as the agent was asked last, successfully */
	uint64_t oom_kills;    /* as the guest says */
	uint64_t oom_shown_ms; /* when the host's cgroup showed one last, 0: never */
	bool oom_hidden;       /* it cannot: that was said */
	struct loop_timer oom_timer, oom_show_timer;
	bool abandoned;	    /* whoever waits for "created" has gone, or a signal came instead */
	bool stopping;	    /* STOP: no more waiting for readers */
	bool exited;	    /* the container's process has ended, status is its own */
	bool failed;	    /* the guest died before that, or with output not yet delivered */
	bool about_program; /* the failure of create is one of the container's program */
	int status;	    /* exit code */
	struct loop_timer end_timer, ping_timer;
	unsigned int pings_missed, ping_interval_s;
	bool ping_pending;
};

/* ---- monitor.c ---- */
struct shim_plan {
	const struct monitor_args *args;
	struct exports *exports;
	int report_fd, netns_fd; /* -1: none */
};
/** shim_main() - The monitor's life, in the forked child; Return: its exit code */
int shim_main(const struct shim_plan *plan);
/** shim_wait() - Turn the loop until *@flag; Return: 0, -ETIMEDOUT, -ECANCELED (abandoned) or -EIO (the guest ended) with @err */
int shim_wait(struct shim *shim, const bool *flag, uint64_t timeout_ms, const char *what,
	      struct err *err);

/* ---- isolate.c ---- */
/** isolate_network() - Join or make the container's network namespace */
int isolate_network(struct shim *shim, struct err *err);
/** isolate_mounts() - A private mount namespace whose /proc fits the new pid namespace */
int isolate_mounts(struct shim *shim, struct err *err);
/**
 * isolate_show() - Attach the container's files at the rootfs's path in this process's mount namespace, for createContainer hooks
 *
 * Bind mounts whose mount points the agent has yet to make are left out here. isolate_view() takes it on from there.
 */
int isolate_show(struct shim *shim, struct err *err);
/** isolate_view() - Make the container's files the root of this process; closes all view descriptors */
int isolate_view(struct shim *shim, struct err *err);

/* ---- network.c ---- */
/** network_open() - Look at the network namespace and begin to follow it; nothing is changed in one that is not the container's */
int network_open(struct shim *shim, struct err *err);
/** network_attach() - The agent is there: bring the network into the guest and wait until it is */
int network_attach(struct shim *shim, struct err *err);
void network_release(struct shim *shim);
/** network_on_vmm() - The vmm has answered for a device: NET_ADDED, NET_REMOVED */
void network_on_vmm(struct shim *shim, const struct vmm_msg *msg);
/**
 * network_settle() - Look again, and call @done when the guest has what is there now, or cannot have it; perhaps at once
 * Return: 0, or -EBUSY when somebody waits already
 */
int network_settle(struct shim *shim,
		   void (*done)(struct shim *shim, const struct err *err, void *arg), void *arg);

/* ---- memory.c ---- */
/** memory_on_vmm() - The vmm has answered: MEMORY_GROWN */
void memory_on_vmm(struct shim *shim, const struct vmm_msg *msg);
/** memory_on_gone() - The vmm has ended: it will not */
void memory_on_gone(struct shim *shim);

/* ---- relays.c ---- */
/** relays_open() - Get ready for the agent's connections */
int relays_open(struct shim *shim, struct err *err);
void relays_release(struct shim *shim);
/** relays_accept() - A program of the guest has connected to MACHINE_VSOCK_PORT_RELAY; @fd is owned from now on */
void relays_accept(struct shim *shim, int fd);

/* ---- sockets.c ---- */
int sockets_open(struct shim *shim, struct err *err);
void sockets_release(struct shim *shim);
/** sockets_on_found() - The guest has looked up socket @id below an export; @fd (O_PATH) is owned from now on */
void sockets_on_found(struct shim *shim, uint32_t id, uint32_t export_id, int fd);
/**
 * sockets_connect() - Connect to socket @id as @uid and @gid, as far as this process may be them
 * @out:	Filled with its kind
 * Return: a non-blocking socket, -EPERM for ids that the container's user namespace has not, or -errno
 */
int sockets_connect(struct shim *shim, uint32_t id, uint32_t uid, uint32_t gid,
		    struct socket_kind *out);

/* ---- hooks.c ---- */
/** hooks_wait_runtime() - Have the command run prestart and createRuntime hooks, if there are any, and wait for it */
int hooks_wait_runtime(struct shim *shim, struct err *err);
/** hooks_on_answer() - Something happened on the report socket; Return: whether it was the command's word to go on */
bool hooks_on_answer(struct shim *shim, uint32_t events);
/** hooks_create_container() - Run createContainer hooks here */
int hooks_create_container(struct shim *shim, struct err *err);

/* ---- guest.c ---- */
/** guest_start() - Start the vmm and wait until the agent listens */
int guest_start(struct shim *shim, struct err *err);
/** guest_stop() - Kill the guest if it still runs, reap the vmm */
void guest_stop(struct shim *shim);
/** guest_note_ticks() - Remember how much CPU time the vmm has used by now */
void guest_note_ticks(struct shim *shim);
/** guest_activity() - What the vmm has been doing since: part of a sentence, "" when nothing is known */
const char *guest_activity(const struct shim *shim, char *out, size_t size);
/** guest_connect() - A new stream to a port of the guest; Return: our end (owned, O_NONBLOCK not set) or -errno */
int guest_connect(struct shim *shim, uint32_t port, struct err *err);

/* ---- agent.c ---- */
int agent_connect(struct shim *shim, struct err *err);
/** agent_is_gone() - Its connection has ended while serving: the guest is given up unless the vmm says more */
void agent_is_gone(struct shim *shim);
/** agent_create() - Prepare the container in the guest and begin to wait for its end */
int agent_create(struct shim *shim, struct err *err);
/** agent_error() - Words and number of a call's result; Return: 0 for TTRPC_OK, else -errno with @err (clean text) */
int agent_error(const struct ttrpc_result *result, struct err *err);
int agent_start(struct shim *shim, ttrpc_on_result *on_result, void *arg);
int agent_signal(struct shim *shim, const char *exec_id, uint32_t signo, bool all,
		 ttrpc_on_result *on_result, void *arg);
int agent_resize(struct shim *shim, const char *exec_id, uint32_t rows, uint32_t columns);
struct agent_exec {
	const char *exec_id;
	const uint8_t *process;
	size_t process_len;
	const uint64_t *tokens; /* three */
	const char *cgroup;
};
int agent_exec(struct shim *shim, const struct agent_exec *exec, ttrpc_on_result *on_result,
	       void *arg);
/** agent_exec_pid() - The guest's pid from the result of agent_exec(); -1 when it is not there */
int agent_exec_pid(const struct ttrpc_result *result);
int agent_wait(struct shim *shim, const char *exec_id, ttrpc_on_result *on_result, void *arg);
/**
 * agent_wait_status() - Exit status (0–255, 128+n) from the result of agent_wait(); -1 when it is not one
 * @output_bytes: Filled with what the process had written to stdout and stderr, if the guest says the truth; may be NULL
 */
int agent_wait_status(const struct ttrpc_result *result, uint64_t output_bytes[2]);
int agent_delete(struct shim *shim, const char *exec_id);
int agent_update(struct shim *shim, const uint8_t *resources, size_t len,
		 ttrpc_on_result *on_result, void *arg);
/** agent_grow_memory() - The vmm has added memory, @bytes in all */
int agent_grow_memory(struct shim *shim, uint64_t bytes, ttrpc_on_result *on_result, void *arg);
/** agent_ask() - Call one of the methods that need no more than the container's id: "Freeze", "Thaw", "Processes", "Stats" */
int agent_ask(struct shim *shim, const char *method, ttrpc_on_result *on_result, void *arg);
/** agent_wait_oom() - Answered when more than @seen processes were killed for lack of memory */
int agent_wait_oom(struct shim *shim, uint64_t seen, ttrpc_on_result *on_result, void *arg);
/** agent_oom_kills() - How many, from the result of agent_wait_oom() or of agent_wait(); 0 when it is not one */
uint64_t agent_oom_kills(const struct ttrpc_result *result, bool of_wait);
/** agent_set_network() - @request: packed, as net_message() makes it */
int agent_set_network(struct shim *shim, const uint8_t *request, size_t len,
		      ttrpc_on_result *on_result, void *arg);
struct agent_socket {
	uint32_t id, export_id;
	bool datagram, stop;
};
/** agent_relay_socket() - Have the agent bind to a socket of the host's in the guest, or stop it */
int agent_relay_socket(struct shim *shim, const struct agent_socket *socket,
		       ttrpc_on_result *on_result, void *arg);
int agent_ping(struct shim *shim, ttrpc_on_result *on_result, void *arg);
int agent_shutdown(struct shim *shim);

/* ---- stdio.c ---- */
/** stdio_open() - Private descriptors of the container's stdio, or a pseudo-terminal; 0–2 become /dev/null */
int stdio_open(struct shim *shim, struct err *err);
/** stdio_connect() - Open the container's streams and fill in the tokens */
int stdio_connect(struct shim *shim, struct err *err);
/** stdio_start() - Send the terminal's master to its owner; begin to relay */
int stdio_start(struct shim *shim, struct err *err);
/** stream_open() - A new stdio stream; Return: our end or -errno, @token filled */
int stream_open(struct shim *shim, uint64_t *token, struct err *err);
/** stdio_on_winch() - The terminal's size has changed */
void stdio_on_winch(struct shim *shim);
/** stdio_is_drained() - All output has been delivered */
bool stdio_is_drained(const struct shim *shim);
/** stdio_is_stalled() - Output waits for a reader on the host */
bool stdio_is_stalled(const struct shim *shim);
/** stdio_progress() - Bytes of output delivered so far */
uint64_t stdio_progress(const struct shim *shim);
void stdio_release(struct shim *shim);

/* ---- server.c ---- */
/** server_open() - Make the control socket in the state directory (nothing listens yet) */
int server_open(struct shim *shim, struct err *err);
int server_start(struct shim *shim, struct err *err);
/** server_has_execs() - Is a process of `exec` not yet done with? */
bool server_has_execs(const struct shim *shim);
void server_release(struct shim *shim);

/* ---- pause.c ---- */
/** pause_end() - The container was killed or has ended: it is paused no longer */
void pause_end(struct shim *shim);

/* ---- inspect.c ---- */
/** oom_start() - Hear from now on of processes killed for lack of memory */
void oom_start(struct shim *shim);
/** oom_note() - There are @kills by now: tell the log and those who listen, if that is news */
void oom_note(struct shim *shim, uint64_t kills);

/* ---- end.c ---- */
/** end_begin() - Serving begins: look at what has happened while the container was made */
void end_begin(struct shim *shim);
/** end_on_exit() - The container's process has ended with @status */
void end_on_exit(struct shim *shim, int status);
/** end_on_guest_gone() - The guest has ended; shim->guest_text says how */
void end_on_guest_gone(struct shim *shim);
/** end_guest_failed() - The guest does not behave: note it, kill it */
void end_guest_failed(struct shim *shim, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/** end_on_stop() - The command line asks to end everything */
void end_on_stop(struct shim *shim);
/** end_check() - Something has been delivered: is everything? */
void end_check(struct shim *shim);
/** heartbeat_start() - Ask the agent for a sign of life from now on */
int heartbeat_start(struct shim *shim, struct err *err);

#endif
