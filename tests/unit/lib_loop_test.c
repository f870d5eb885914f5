/* SPDX-License-Identifier: Apache-2.0 */
/* lib/loop.c: sources that go away while they are being served, descriptors that epoll refuses, timers, signals. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/loop.h"

struct probe {
	struct loop_source source;
	int calls;
	uint32_t events;
	struct probe *victim; /* deleted from within our callback */
	int quit;
};

static struct loop *loop;

static int set_up(void **state)
{
	(void)state;
	loop = loop_new(NULL);
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	loop_free(loop);
	loop = NULL;
	return 0;
}

static void on_probe(struct loop_source *source, uint32_t events)
{
	struct probe *p = container_of(source, struct probe, source);

	p->calls++;
	p->events = events;
	if (p->victim)
		loop_del(&p->victim->source);
	if (p->quit)
		loop_quit(source->loop, p->quit);
}

static struct probe probe_of(int fd)
{
	return (struct probe){.source = {.fd = fd, .on_event = on_probe}};
}

static void events_are_reported(void **state)
{
	struct probe p;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	p = probe_of(fd[0]);
	assert_int_equal(loop_add(loop, &p.source, EPOLLIN, NULL), 0);
	assert_int_equal(loop_step(loop, 0), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(loop_step(loop, -1), 1);
	assert_int_equal(p.events, EPOLLIN);
	loop_mod(&p.source, 0);
	assert_int_equal(loop_step(loop, 0), 0);
	(void)close(fd[1]); /* a hang-up is reported without being asked for */
	assert_int_equal(loop_step(loop, -1), 1);
	assert_int_equal(p.events, EPOLLHUP);
	loop_del(&p.source);
	loop_del(&p.source);
	assert_null(p.source.loop);
	assert_int_equal(loop_step(loop, 0), 0);
	(void)close(fd[0]);
}

static void adding_twice_or_nothing_fails(void **state)
{
	struct err err = {0};
	struct probe p = probe_of(-1);
	int fd[2];

	(void)state;
	assert_int_equal(loop_add(loop, &p.source, EPOLLIN, &err), -EBADF);
	assert_null(p.source.loop);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	p = probe_of(fd[0]);
	assert_int_equal(loop_add(loop, &p.source, EPOLLIN, &err), 0);
	assert_int_equal(loop_add(loop, &p.source, EPOLLIN, &err), -EEXIST);
	(void)close(fd[1]);
	loop_del(&p.source);
	(void)close(fd[0]);
}

static void a_deleted_source_is_not_served(void **state)
{
	struct probe p[3];
	int fd[3][2], served;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pipe2(fd[i], O_CLOEXEC), 0);
		p[i] = probe_of(fd[i][0]);
		assert_int_equal(write(fd[i][1], "x", 1), 1);
		assert_int_equal(loop_add(loop, &p[i].source, EPOLLIN, NULL), 0);
	}
	/* each kills the next: whoever comes first, two of the three live or fewer, and none is served dead */
	for (int i = 0; i < 3; i++)
		p[i].victim = &p[(i + 1) % 3];
	served = loop_step(loop, -1);
	assert_true(served < 3);
	for (int i = 0; i < 3; i++) {
		loop_del(&p[i].source);
		(void)close(fd[i][0]);
		(void)close(fd[i][1]);
	}
}

static void own_deletion_and_freeing(void **state)
{
	struct probe p;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	p = probe_of(fd[0]);
	p.victim = &p;
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(loop_add(loop, &p.source, EPOLLIN, NULL), 0);
	assert_int_equal(loop_step(loop, -1), 1);
	assert_int_equal(loop_step(loop, 0), 0);
	assert_int_equal(p.calls, 1);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

static void refused_descriptors_are_always_ready(void **state)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct probe p[40];
	int total = 0;

	(void)state;
	for (int i = 0; i < 40; i++) {
		p[i] = probe_of(null);
		assert_int_equal(loop_add(loop, &p[i].source, EPOLLIN, NULL), 0);
		assert_true(p[i].source.always_ready);
	}
	for (int i = 0; i < 5; i++)
		total += loop_step(loop, -1);
	assert_int_equal(total, 80);
	for (int i = 0; i < 40; i++) /* in turn: none is served twice while another waits */
		assert_int_equal(p[i].calls, 2);
	for (int i = 0; i < 40; i++)
		loop_mod(&p[i].source, 0);
	assert_int_equal(loop_step(loop, 0), 0);
	loop_mod(&p[7].source, EPOLLOUT);
	assert_int_equal(loop_step(loop, -1), 1);
	assert_int_equal(p[7].events, EPOLLOUT);
	for (int i = 0; i < 40; i++)
		loop_del(&p[i].source);
}

static void ready_ones_do_not_starve_others(void **state)
{
	cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct probe a = probe_of(null), b;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	b = probe_of(fd[0]);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(loop_add(loop, &a.source, EPOLLIN, NULL), 0);
	assert_int_equal(loop_add(loop, &b.source, EPOLLIN, NULL), 0);
	assert_int_equal(loop_step(loop, -1), 2);
	assert_int_equal(b.calls, 1);
	loop_del(&a.source);
	loop_del(&b.source);
	(void)close(fd[0]);
	(void)close(fd[1]);
}

static void quit_ends_run_with_its_code(void **state)
{
	cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct probe p[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		p[i] = probe_of(null);
		p[i].quit = 42;
		assert_int_equal(loop_add(loop, &p[i].source, EPOLLIN, NULL), 0);
	}
	assert_false(loop_is_quitting(loop));
	assert_int_equal(loop_run(loop), 42);
	assert_true(loop_is_quitting(loop));
	assert_int_equal(p[0].calls + p[1].calls, 1); /* nothing more is served */
	loop_free(loop);			      /* takes the sources out */
	assert_null(p[0].source.loop);
	loop_del(&p[0].source);
	loop = loop_new(NULL);
}

struct timer_probe {
	struct loop_timer timer;
	int fired;
	bool release;
};

static void on_expire(struct loop_timer *timer)
{
	struct timer_probe *t = container_of(timer, struct timer_probe, timer);

	t->fired++;
	if (t->release)
		loop_timer_release(timer);
}

static void timers_fire_once(void **state)
{
	struct timer_probe t = {.timer.on_expire = on_expire};
	uint64_t start = io_now_ms();

	(void)state;
	assert_int_equal(loop_timer_arm(loop, &t.timer, 0), 0); /* disarming an unused one */
	assert_int_equal(loop_timer_arm(loop, &t.timer, 20), 0);
	while (!t.fired)
		assert_true(loop_step(loop, 10000) >= 0);
	assert_true(io_now_ms() - start >= 19);
	assert_int_equal(loop_step(loop, 30), 0);
	assert_int_equal(loop_timer_arm(loop, &t.timer, 1), 0);
	(void)usleep(5000);
	assert_int_equal(loop_timer_arm(loop, &t.timer, 0),
			 0); /* expired, but not served yet: disarmed */
	assert_int_equal(loop_step(loop, 0), 0);
	assert_int_equal(t.fired, 1);
	t.release = true;
	assert_int_equal(loop_timer_arm(loop, &t.timer, 1), 0);
	while (t.fired < 2)
		assert_true(loop_step(loop, 10000) >= 0);
	loop_timer_release(&t.timer);
	assert_int_equal(loop_timer_arm(loop, &t.timer, UINT64_MAX),
			 0); /* usable again; far away is no overflow */
	assert_int_equal(loop_step(loop, 5), 0);
	loop_timer_release(&t.timer);
}

struct signal_probe {
	struct loop_signals signals;
	int signo, count;
	pid_t sender;
};

static void on_signal(struct loop_signals *signals, int signo, pid_t sender)
{
	struct signal_probe *s = container_of(signals, struct signal_probe, signals);

	s->signo = signo;
	s->sender = sender;
	s->count++;
}

static void signals_arrive_with_their_sender(void **state)
{
	struct signal_probe s = {.signals.on_signal = on_signal};
	sigset_t mask;

	(void)state;
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGUSR1);
	(void)sigaddset(&mask, SIGUSR2);
	assert_int_equal(loop_signals_init(loop, &s.signals, &mask, NULL), 0);
	(void)kill(getpid(), SIGUSR1);
	(void)kill(getpid(), SIGUSR2);
	while (s.count < 2)
		assert_true(loop_step(loop, 10000) > 0);
	assert_true(s.signo == SIGUSR1 || s.signo == SIGUSR2);
	assert_int_equal(s.sender, getpid());
	loop_signals_release(&s.signals);
	loop_signals_release(&s.signals);
	assert_int_equal(loop_step(loop, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_are_reported, set_up, tear_down),
		cmocka_unit_test_setup_teardown(adding_twice_or_nothing_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_deleted_source_is_not_served, set_up, tear_down),
		cmocka_unit_test_setup_teardown(own_deletion_and_freeing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused_descriptors_are_always_ready, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(ready_ones_do_not_starve_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(quit_ends_run_with_its_code, set_up, tear_down),
		cmocka_unit_test_setup_teardown(timers_fire_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(signals_arrive_with_their_sender, set_up,
						tear_down),
	};

	return cmocka_run_group_tests_name("lib/loop", tests, NULL, NULL);
}
