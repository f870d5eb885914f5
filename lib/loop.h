/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A single-threaded event loop over epoll(7), with timers and signals as ordinary sources.
 *
 * A source is embedded in its owner's struct; the loop never allocates per source and never owns descriptors. A source may
 * be deleted from within any callback, its own included; events that were already fetched for it are dropped.
 * Descriptors that epoll refuses (regular files, /dev/null: EPERM) are treated as always ready for what was asked.
 */
#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct loop;

struct loop_source {
	int fd; /* borrowed */
	void (*on_event)(struct loop_source *source,
			 uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
	/* the loop's own */
	struct loop *loop;
	struct loop_source *next, *prev;
	uint32_t events;
	bool always_ready;
};

/** loop_new() - Return: a loop, or NULL with @err filled */
struct loop *loop_new(struct err *err);
void loop_free(struct loop *loop);

/**
 * loop_add() - Watch @source->fd for @events (EPOLLIN | EPOLLOUT …, level-triggered)
 * 0 as @events keeps the source registered for EPOLLHUP and EPOLLERR only. Return: 0 or -errno.
 */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct err *err);
/** loop_mod() - Change what is watched for; no system call when nothing changes */
void loop_mod(struct loop_source *source, uint32_t events);
/** loop_del() - Stop watching; does nothing for a source that is not registered (source->loop == NULL) */
void loop_del(struct loop_source *source);

/** loop_run() - Serve until loop_quit(); Return: its code, or -errno when epoll itself fails */
int loop_run(struct loop *loop);
/** loop_step() - Wait at most @timeout_ms (-1: for ever) and serve one batch; Return: events served, 0 on time-out, -errno */
int loop_step(struct loop *loop, int timeout_ms);
void loop_quit(struct loop *loop, int code);
bool loop_is_quitting(const struct loop *loop);
/** loop_fd() - A descriptor (the loop's own) that is readable when a step has something to serve, for who waits elsewhere meanwhile */
int loop_fd(const struct loop *loop);

/* A one-shot timer (timerfd, CLOCK_MONOTONIC). Zero-initialise; on_expire runs once per loop_timer_arm(). */
struct loop_timer {
	struct loop_source source;
	void (*on_expire)(struct loop_timer *timer);
	bool initialised;
};
/** loop_timer_arm() - (Re-)arm; @timeout_ms 0 disarms; Return: 0 or -errno */
int loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t timeout_ms);
void loop_timer_release(struct loop_timer *timer);

/* Signals by signalfd: blocks @mask in this thread. on_signal gets the signal and its siginfo pid. */
struct loop_signals {
	struct loop_source source;
	void (*on_signal)(struct loop_signals *signals, int signo, pid_t sender);
	bool initialised;
};
int loop_signals_init(struct loop *loop, struct loop_signals *signals, const sigset_t *mask,
		      struct err *err);
void loop_signals_release(struct loop_signals *signals);

#endif
