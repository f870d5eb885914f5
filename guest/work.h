/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may block, in a child of its own.
 *
 *   agent ──fork──▶ child: run(fd) ──writes──▶ pipe ──▶ collected here ──end of the pipe──▶ on_done()
 *
 * The agent's one thread never waits for a container's files or processes: a look at /proc/PID/cmdline waits for a lock of that
 * process, sync(2) waits for the host's disk. A child can be waited for, given up and killed. It has a copy of the agent's memory
 * as of the fork, and no descriptor but those it is given.
 */
#ifndef GUEST_WORK_H
#define GUEST_WORK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/loop.h"

struct work;

/* What to do */
struct work_job {
	/* Runs in the child; what it writes to @fd is the answer. Return: 0 or -errno (then there is no answer) */
	int (*run)(int fd, void *arg);
	void *arg;
	int keep;	     /* a descriptor that run() needs, -1: none */
	size_t max;	     /* bytes of the answer */
	uint64_t timeout_ms; /* then the child is killed; 0: none */
};

/* Zero-initialise; embedded in its owner's struct */
struct work {
	struct loop_source source; /* end of the pipe; fd is owned while it runs */
	struct loop_timer timer;
	struct buf answer;
	int pidfd; /* owned while it runs */
	bool running;
	/* @error: 0, or -errno (-ETIMEDOUT, -EIO when the child died); @data is borrowed until it returns. May start it anew. */
	void (*on_done)(struct work *work, int error, const uint8_t *data, size_t len);
};

/** work_start() - Begin; @work->on_done is called later from the loop. Return: 0, or -errno (then it is not); -EBUSY while it runs */
int work_start(struct work *work, struct loop *loop, const struct work_job *job, struct err *err);
/** work_cancel() - Kill the child, do not call; nothing happens when it does not run */
void work_cancel(struct work *work);

#endif
