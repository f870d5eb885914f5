/* SPDX-License-Identifier: Apache-2.0 */
/* The new vmm process between clone and exec: its descriptors come out right wherever the caller's were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "kvm/vmm.c"

static const char event[] = "anon_inode:[eventfd]", program[] = "/memfd:program (deleted)",
		  log_file[] = "/memfd:log (deleted)", sock[] = "socket:[";

/* Is descriptor @fd a link to something that begins with @what? */
static bool is(int fd, const char *what)
{
	char path[32], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 &&
	       strncmp(target, what, strlen(what)) == 0;
}

static int place(int fd, int target)
{
	if (target < 0)
		return fd;
	return dup2(fd, target);
}

/* In a process of its own; @at: where control socket, program and log lie, -1: anywhere. Return: what is wrong, 0: nothing */
static int arrange(const int at[3])
{
	struct child c = {.argv = {NULL}};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return 1;
	c.control_fd = fcntl(pair[1], F_DUPFD, 100);
	c.exe_fd = fcntl(memfd_create("program", 0), F_DUPFD, 100);
	c.log_fd = fcntl(memfd_create("log", 0), F_DUPFD, 100);
	for (int fd = 3; fd < 16; fd++)
		(void)close(fd);
	c.control_fd = place(c.control_fd, at[0]);
	c.exe_fd = place(c.exe_fd, at[1]);
	c.log_fd = place(c.log_fd, at[2]);
	child_arrange_fds(&c);
	if (!is(0, event) || !is(1, event) || !is(2, VMM_KEEPS_SANITIZER ? log_file : event))
		return 2;
	if (!is(VMM_CONTROL_FD, sock) || (fcntl(VMM_CONTROL_FD, F_GETFD) & FD_CLOEXEC))
		return 3;
	if (!is(c.exe_fd, program) || !(fcntl(c.exe_fd, F_GETFD) & FD_CLOEXEC))
		return 4;
	for (int fd = 0; fd < 200; fd++)
		if (fd > VMM_CONTROL_FD && fd != c.exe_fd && fcntl(fd, F_GETFD) >= 0)
			return 5;
	return 0;
}

static void test_descriptors(void **state)
{
	static const int places[][3] = {{-1, -1, -1}, {3, 4, 5}, {5, 3, 4}, {4, 5, 3},	{4, -1, -1},
					{-1, 3, -1},  {5, 4, 3}, {7, 0, 1}, {16, 17, 2}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			_exit(arrange(places[i]));
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			print_message("case %zu: status %#x\n", i, (unsigned int)status);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_descriptors)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
