/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that the monitor asked for: a container's own or an exec'd one, from clone3 to its exit status.
 *
 *   SETTING_UP ──READY──▶ WAITING ──go──▶ EXECING ──report socket closed──▶ RUNNING ──reaped──▶ ENDED
 *        │ (exec'd ones skip WAITING)        │ error                            
 *        └── error or death ──▶ FAILED ◀─────┘  (ENDED once reaped, with the reason kept)
 *
 * The child reports over a SOCK_SEQPACKET pair that closes at execve. A process is freed when the monitor has deleted it, it has
 * been reaped and its streams have drained: `exec sh -c 'sleep 9 &'` leaves a stream behind, as with runc.
 */
#ifndef GUEST_PROCESS_H
#define GUEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/ttrpc.h"
#include "oci/config.h"

#include "guest/agent.h"
#include "guest/stdio.h"

enum process_state {
	PROCESS_SETTING_UP,
	PROCESS_WAITING,
	PROCESS_EXECING,
	PROCESS_RUNNING,
	PROCESS_ENDED
};

/* What the child says before execve; one message each, TERMINAL with two descriptors: master, slave */
enum process_report_kind {
	PROCESS_REPORT_TERMINAL = 1,
	PROCESS_REPORT_READY,
	PROCESS_REPORT_ERROR,
	PROCESS_REPORT_SUCCESSOR, /* with a pidfd: another process goes on (guest/successor.h) */
};
struct process_report {
	uint32_t kind;		/* enum process_report_kind */
	uint32_t code;		/* ERROR: enum ttrpc_code; SUCCESSOR: its pid */
	char text[ERR_MSG_MAX]; /* ERROR: one sentence */
};

struct process {
	struct container
		*container;   /* borrowed; NULL once detached from a container that was deleted */
	struct process *next; /* of the container's */
	struct process *next_by_pid;
	char *exec_id; /* owned, "" = the container's own */
	enum process_state state;
	pid_t pid;		     /* in the agent's pid namespace */
	int pidfd;		     /* owned, -1 once reaped */
	struct loop_source report;   /* agent's end of the report socket; fd -1 when closed */
	bool failed;		     /* an ERROR report came, or it died before it was ready */
	struct process_report error; /* if failed */
	bool is_deleted;	     /* off its container's list, waits for its streams to drain */
	int status;		     /* as waitpid gives it, when ENDED */
	uint64_t output_bytes[2];    /* that it had written to its stdout and stderr, when ENDED */
	struct stdio stdio;
	struct ttrpc_call *call; /* Create, Start or Exec under way */
	struct ttrpc_call *waiters[AGENT_WAITERS_MAX];
	size_t nwaiters;
};

struct child_args;

/** process_new() - Return: an object in @container's list, or NULL without memory */
struct process *process_new(struct container *container, const char *exec_id);

/**
 * process_launch() - Open its stdio and clone the child, which runs child_main()
 * @args:	The child's; stdio and report socket are filled in here
 * @clone_flags: CLONE_NEWPID or 0
 * @pidns_fd:	pid namespace the child is to be born in, or -1
 * @cgroup_fd:	cgroup the child is to be born in
 * @tokens:	As for stdio_open()
 * Return: 0, or -errno with nothing running.
 */
struct process_launch {
	struct child_args *args;
	uint64_t clone_flags;
	int pidns_fd, cgroup_fd;
	pid_t neighbour;    /* whose cgroup to take when @cgroup_fd may hold no process; 0: none */
	int cgroup_root_fd; /* the hierarchy that @neighbour's cgroup is found in */
	uint64_t tokens[3];
};
int process_launch(struct process *process, const struct process_launch *launch, struct err *err);

/** process_go() - Let a WAITING one execve; @call is answered when that has succeeded or failed */
void process_go(struct process *process, struct ttrpc_call *call);

/** process_wait() - Answer @call with the exit status, at once or later */
void process_wait(struct process *process, struct ttrpc_call *call);

/** process_signal() - Return: 0, -ESRCH when it has ended, or -errno */
int process_signal(struct process *process, int signo);

/** process_on_exit() - The reaper's, for @pid: @status as from waitpid(2). May free @process. */
void process_on_exit(struct process *process, pid_t pid, int status);

/** process_read_reports() - Take what the child has said so far; afterwards its pid may be another one */
void process_read_reports(struct process *process);

/** process_delete() - Take an ended one off its container's list and free it, now or when its streams have drained */
void process_delete(struct process *process);

/** process_exit_code(), process_exit_signal() - Parts of the status of an ended one, as in WaitResponse */
uint32_t process_exit_code(const struct process *process);
uint32_t process_exit_signal(const struct process *process);

#endif
