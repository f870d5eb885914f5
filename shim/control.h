/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line asks of a monitor: start one, and talk to a running one.
 *
 *   caisson create ──monitor_spawn()──▶ monitor ──vmm_start()──▶ vmm
 *   caisson start/kill/exec/… ──<state dir>/control.sock──▶ monitor ──ttrpc over vsock──▶ agent
 *
 * The control socket is a SOCK_SEQPACKET Unix socket, mode 0600, in the container's state directory. One request per
 * connection (EXEC keeps its own open): a struct, answered by a struct with a text (shim/protocol.h). The stand-in of an
 * exec'd process gets the process's vsock streams as descriptors and relays its stdio itself (lib/relay.h), so that a
 * stalled client stalls nobody else; closing the connection before the process has ended kills the process in the guest.
 */
#ifndef SHIM_CONTROL_H
#define SHIM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "oci/config.h"
#include "oci/limits.h"

#define CONTROL_SOCKET_NAME "control.sock"
#define CONTROL_STARTED_NAME \
	"started" /* a file in the state directory, made by the monitor: the process has been let go */
#define CONTROL_PAUSED_NAME \
	"paused" /* in the state directory while the container is paused; the monitor's */

/* ---- starting a monitor ---- */

#define MONITOR_BOOT_TIMEOUT_S 60 /* what there is no other wish for */
#define MONITOR_HEARTBEAT_S 10
#define MONITOR_SECONDS_MAX 3600 /* of both */

struct sock_filter;

struct monitor_args {
	const char *id; /* validated */
	const struct oci_config *config;
	const char *config_text; /* the same as the bytes it was parsed from */
	size_t config_len;
	const struct sock_filter *seccomp; /* linux.seccomp's program; NULL without */
	size_t seccomp_len;		   /* instructions */
	uint32_t seccomp_flags;
	int bundle_fd; /* the bundle directory */
	int state_fd;  /* the container's state directory: control.sock is made in it */
	int exe_fd, kvm_fd, kernel_fd, initramfs_fd; /* borrowed */
	uint64_t memory_bytes;
	uint32_t nvcpus;
	const char *kernel_parameters; /* before those of config.json; NULL: none */
	uint32_t boot_timeout_s;       /* until the agent listens; 1 to MONITOR_SECONDS_MAX */
	bool bind_mount_events; /* inotify watchers in the guest see what the host changes in bind mounts */
	uint32_t heartbeat_s; /* between two pings; three without an answer: the guest hangs */
	int stdio[3];	      /* the container's, without a terminal; borrowed */
	int console_socket_fd; /* connected Unix socket that gets the pty's master; -1 without a terminal */
	bool systemd_cgroup;	     /* the cgroup is a scope of systemd's */
	bool debug;		     /* the guest kernel's log goes to the log at debug level */
	const char *bundle, *rootfs; /* absolute, as hooks are told */
	/*
	 * Runs prestart and createRuntime hooks, in the caller's process, when the monitor (@pid) has its namespaces; not called
	 * without such hooks. Its failure is that of monitor_spawn().
	 */
	int (*on_namespaces)(pid_t pid, void *arg, struct err *err);
	void *arg;
};

struct monitor {
	pid_t pid; /* in the caller's pid namespace: the container's pid for engines; the caller's child, never waited for by create */
	int pidfd; /* owned */
};

/**
 * monitor_spawn() - Open the exports, start the monitor, wait until the container is created in the guest
 * @out:	Filled on success. When the caller exits the monitor is the next subreaper's child; `run` waits for it: it exits with
 *		the container's own status, 128+n for a signal.
 *
 * Return: 0; or -errno with @err filled and everything undone (no process, mount, socket or cgroup left). Errors of the container's
 * program (not found, not executable, a directory) carry runc's words; all others avoid them.
 */
int monitor_spawn(const struct monitor_args *args, struct monitor *out, struct err *err);

/**
 * monitor_cgroup_remove() - Remove the host cgroup that the monitor made, with what is left in it if nobody else uses it; for `delete`
 * Call it when the monitor has ended. Return: 0, also when there is none; or -errno with @err.
 */
int monitor_cgroup_remove(int state_fd, struct err *err);

/**
 * monitor_network_remove() - Remove what a monitor that was killed has left in a network namespace that still exists; for `delete`
 * Call it when the monitor has ended. Return: 0, also when there is nothing; or -errno with @err.
 */
int monitor_network_remove(int state_fd, struct err *err);

/** monitor_cgroup_open() - The container's cgroup on the host; Return: descriptor, -ENOENT when it has none, -errno */
int monitor_cgroup_open(int state_fd, struct err *err);

/**
 * monitor_cgroup_limit() - Apply the host's side of the container's limits to its cgroup; all of them or none
 * @state_fd:	The state directory: a scope of systemd's is told, too
 * @undo:	What to give to monitor_cgroup_restore(), released by the caller
 * Return: 0 or -errno
 */
int monitor_cgroup_limit(int state_fd, int cgroup_fd, const struct oci_resources *resources,
			 const struct limits_machine *machine, struct limits *undo,
			 struct err *err);
/** monitor_cgroup_restore() - Take it back, as far as that goes */
void monitor_cgroup_restore(int state_fd, int cgroup_fd, const struct limits *undo);

/**
 * monitor_failure() - Why the guest died, for `run` and `start` after exit status 255
 * @out:	One clean sentence, cut to @size; Return: true when there is one
 */
bool monitor_failure(int state_fd, char *out, size_t size);

/* ---- a terminal of the host's for the container, or for the stand-in of an exec'd process ---- */

/**
 * console_open() - A new pseudo-terminal: slave raw, of the given size (0: as it is), controlling terminal of the caller, which
 * must be a session leader without one. Both ends are the caller's on success. Return: 0 or -errno.
 */
int console_open(unsigned int rows, unsigned int columns, int *out_master, int *out_slave,
		 struct err *err);
/** console_send() - Send the master to a console socket (nothing is awaited); both stay the caller's. Return: 0 or -errno */
int console_send(int socket_fd, int master, struct err *err);

/* ---- talking to a running monitor; @state_fd is the container's state directory ---- */

/**
 * control_start() - Let the created process run
 * @has_hooks:	It has startContainer hooks, so the answer may take as long as they do
 * Return: 0, -ECONNREFUSED when no monitor answers, or -errno with @err
 */
int control_start(int state_fd, bool has_hooks, struct err *err);
/** control_signal() - Signal the container's process, or all of its processes */
int control_signal(int state_fd, int signo, bool all, struct err *err);
/** control_update() - Change the container's limits in the guest: @json is a resources document. All of it or nothing */
int control_update(int state_fd, const char *json, size_t len, struct err *err);
/**
 * control_grow_memory() - Have the running guest have @bytes (a multiple of 1 MiB) in all, or as little more as memory comes in
 *
 * Memory comes in steps of MACHINE_MEMORY_STEP beside what the guest was made with. What was granted stays granted, also after a failure
 * of the guest's kernel to take it over.
 */
int control_grow_memory(int state_fd, uint64_t bytes, struct err *err);
/** control_pause() - Freeze the container's processes, write back what the guest has cached */
int control_pause(int state_fd, struct err *err);
int control_resume(int state_fd, struct err *err);
/** control_stop() - Kill the container and end the guest: after it the monitor is on its way out; used by delete --force */
int control_stop(int state_fd, struct err *err);

struct control_exec_args {
	const struct oci_process *process;
	const char *exec_id; /* NULL: chosen by the monitor */
	const char *cgroup;  /* below the container's, in the guest; NULL: that */
	bool ignore_paused;  /* in a paused container, wait until it is resumed */
};
struct control_exec {
	int control_fd; /* owned: carries the exit status later; closing it kills the process */
	int streams
		[3]; /* owned: stdin, stdout, stderr of the process as stream sockets; with a terminal only [0], both ways */
	int guest_pid;
};
/** control_exec() - Start a process in the running container; Return: 0 or -errno (words as in monitor_spawn()) */
int control_exec(int state_fd, const struct control_exec_args *args, struct control_exec *out,
		 struct err *err);
int control_exec_resize(const struct control_exec *exec, unsigned int rows, unsigned int columns);
int control_exec_signal(const struct control_exec *exec, int signo);
/**
 * control_exec_status() - Read the final status once control_fd is readable
 * @output_bytes: Filled on success with what the process had written to stdout and stderr; a guest's word
 *
 * Return: 0–255 exit code, 128+n, or -EPIPE when the guest is gone
 */
int control_exec_status(const struct control_exec *exec, uint64_t output_bytes[2]);
void control_exec_release(struct control_exec *exec);

/**
 * stdio_serve() - The stand-in's work after control_exec(): relay stdio and terminal, forward signals, wait for the end
 * @stdio:	The descriptors to relay (owned by the call); with a terminal stdio[0] is the terminal or the pty's slave
 * @terminal:	stdio[0] is a terminal: size changes (SIGWINCH) are passed on; the caller has set it raw
 * Return: the exit status as control_exec_status(), or -errno
 */
int stdio_serve(struct control_exec *exec, int stdio[3], bool terminal, struct err *err);

/* ---- what goes on in the guest: foreign numbers and texts, checked and cleaned (shim/query.c) ---- */

struct control_process {
	int pid, parent_pid, group_id, session_id; /* in the container's pid namespace */
	bool foreground;
	uint32_t uid, gid;
	char state;	   /* a letter, '?' for what is none */
	uint32_t terminal; /* device number, 0: none */
	uint32_t threads;
	int nice;
	int64_t start_s; /* seconds since 1970 */
	uint64_t elapsed_ms, cpu_ms, virtual_bytes, resident_bytes;
	char name[16];
	char *command; /* owned: arguments with blanks between; "" when it has none */
};
struct control_processes {
	struct control_process *items; /* owned, by pid */
	size_t n;
	uint64_t memory_bytes; /* the guest's */
	int64_t now_s;
	bool cut; /* there are more */
};
/** control_processes() - The container's processes; Return: 0, -ECONNREFUSED, -EPROTO for what a guest must not say, -errno */
int control_processes(int state_fd, struct control_processes *out, struct err *err);
void control_processes_release(struct control_processes *processes);

/**
 * control_pids() - Pids on the host of what stands for exec'd processes, ascending
 * @out:	Owned by the caller; Return: how many, or -errno
 */
int control_pids(int state_fd, int32_t **out, struct err *err);

struct control_pressure {
	bool present;
	uint32_t some[3], full[3]; /* averages of 10, 60, 300 s in hundredths of a percent */
	uint64_t some_total, full_total;
};
struct control_memory {
	uint64_t usage, max_usage, limit; /* limit UINT64_MAX: none */
};
struct control_stats {
	uint64_t cpu_total_ns, cpu_user_ns, cpu_kernel_ns;
	uint64_t periods, throttled_periods, throttled_ns;
	bool has_memory, has_swap;
	struct control_memory memory, swap; /* swap: without memory */
	struct control_figure {
		char name[64];
		uint64_t value;
	} * memory_stat; /* owned, sorted by name, each once */
	size_t nmemory_stat;
	uint64_t pids, pids_limit; /* limit 0: none */
	struct control_device {
		uint32_t major, minor;
		uint64_t read_bytes, write_bytes, reads, writes;
	} * io; /* owned */
	size_t nio;
	struct control_hugetlb {
		char size[64];
		uint64_t usage, failures;
	} * hugetlb; /* owned, sorted by size */
	size_t nhugetlb;
	struct control_pressure cpu_pressure, memory_pressure, io_pressure;
};
/** control_stats() - The figures of the container's cgroup in the guest; Return: as control_processes() */
int control_stats(int state_fd, struct control_stats *out, struct err *err);
void control_stats_release(struct control_stats *stats);

/** control_events_open() - Listen for events; Return: a descriptor that becomes readable, the caller's; or -errno */
int control_events_open(int state_fd, struct err *err);
/** control_events_next() - Take one that has come; Return: 1: processes were killed for lack of memory; 0: the container has ended; -errno */
int control_events_next(int fd, struct err *err);

/* The decoders of the last two, for tests */
int control_processes_decode(const uint8_t *bytes, size_t len, struct control_processes *out,
			     struct err *err);
int control_stats_decode(const uint8_t *bytes, size_t len, struct control_stats *out,
			 struct err *err);

#endif
