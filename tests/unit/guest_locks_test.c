/* SPDX-License-Identifier: Apache-2.0 */
/* One round of the agent's lock thread: what it reads, what it writes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/locks.h"

/* An answer without a waiter is none: the thread pauses instead of asking again at once */
static void test_nothing(void **state)
{
	int control = open("/dev/null", O_RDWR | O_CLOEXEC);
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(locks_round(control, proc), -ENODATA);
	close(control);
	close(proc);
}

/* Who runs or sleeps has not been interrupted */
static void test_not_interrupted(void **state)
{
	struct {
		uint64_t unique;
		uint32_t pid, reserved;
	} waiters[] = {{1, 0, 0}, {2, (uint32_t)getpid(), 0}, {3, 1, 0}};
	int control[2], proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(send(control[0], waiters, sizeof(waiters), 0), sizeof(waiters));
	assert_int_equal(locks_round(control[1], proc), 0);
	assert_int_equal(recv(control[0], &c, 1, MSG_DONTWAIT), -1);
	close(control[0]);
	close(control[1]);
	close(proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_not_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
