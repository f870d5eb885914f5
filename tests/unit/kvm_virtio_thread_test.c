/* SPDX-License-Identifier: Apache-2.0 */
/* Device threads: name, signals, events, waits, and an end that nothing can hold up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtq.h"

struct probe {
	struct virtio_thread t;
	int wait_ms; /* what on_round returns */
	int done_fd; /* gets 1 per event, 1 << 20 per round */
	char name[16];
	int sigterm_blocked;
	uint64_t tag;
};

static void on_event(void *arg, uint64_t tag, uint32_t events)
{
	struct probe *p = arg;

	assert_true(events & EPOLLIN);
	p->tag = tag;
	(void)eventfd_write(p->done_fd, 1);
}

static int on_round(void *arg)
{
	struct probe *p = arg;
	sigset_t set;

	if (!p->name[0]) {
		(void)pthread_sigmask(SIG_SETMASK, NULL, &set);
		p->sigterm_blocked = sigismember(&set, SIGTERM);
		(void)pthread_getname_np(pthread_self(), p->name, sizeof(p->name));
	}
	(void)eventfd_write(p->done_fd, 1 << 20);
	return p->wait_ms;
}

static const struct virtio_thread_ops ops = {.on_event = on_event, .on_round = on_round};

/* Waits until so many rounds and events have been counted in sum */
static void wait_for(struct probe *p, uint64_t rounds, uint64_t events)
{
	uint64_t sum = 0;
	eventfd_t n;

	while (sum >> 20 < rounds || (sum & 0xfffff) < events) {
		assert_int_equal(eventfd_read(p->done_fd, &n), 0); /* blocks */
		sum += n;
	}
}

static void start(struct probe *p, const char *name, int wait_ms)
{
	memset(p, 0, sizeof(*p));
	p->wait_ms = wait_ms;
	p->done_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(p->done_fd >= 0);
	assert_int_equal(virtio_thread_start(&p->t, name, &ops, p, NULL), 0);
}

static void stop(struct probe *p)
{
	virtio_thread_stop(&p->t);
	virtio_thread_stop(&p->t);
	assert_int_equal(p->t.epoll_fd, -1);
	(void)close(p->done_fd);
}

static void test_events(void **state)
{
	struct virtq q = {.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	struct probe p;
	int i;

	(void)state;
	start(&p, "a-name-that-is-too-long", -1);
	wait_for(&p, 1, 0);
	/* A kick from before the watch counts, and each one after it although nobody reads the descriptor */
	(void)eventfd_write(q.kick_fd, 1);
	assert_int_equal(virtio_thread_watch_kicks(&p.t, &q, 77), 0);
	wait_for(&p, 1, 1);
	for (i = 0; i < 100; i++) {
		(void)eventfd_write(q.kick_fd, 1);
		wait_for(&p, 1, 1);
	}
	virtio_thread_unwatch(&p.t, q.kick_fd);
	assert_int_equal(virtio_thread_watch(&p.t, -1, EPOLLIN, 1), -EBADF);
	stop(&p);
	assert_int_equal(p.tag, 77);
	assert_string_equal(p.name, "a-name-that-is-");
	assert_true(p.sigterm_blocked);
	(void)close(q.kick_fd);
}

static void test_time_out(void **state)
{
	struct probe p;

	(void)state;
	start(&p, "waits", 1);
	wait_for(&p, 20, 0);
	stop(&p);
}

/* A descriptor that is always ready, and rounds that always want another one */
static void test_stop_while_busy(void **state)
{
	struct probe p;
	int i, busy = eventfd(1, EFD_CLOEXEC);

	(void)state;
	for (i = 0; i < 50; i++) {
		start(&p, "busy", 0);
		assert_int_equal(virtio_thread_watch(&p.t, busy, EPOLLIN, 1), 0);
		wait_for(&p, 3, 3);
		stop(&p);
	}
	(void)close(busy);
}

static void test_never_started(void **state)
{
	struct virtio_thread t = {0};

	(void)state;
	virtio_thread_stop(&t);
	assert_false(virtio_thread_is_stopping(&t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_time_out),
		cmocka_unit_test(test_stop_while_busy),
		cmocka_unit_test(test_never_started),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
