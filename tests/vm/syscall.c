/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Make system calls by number and say how each ended: its name for an errno that tests ask for, "ok" otherwise.
 *
 * Usage: syscall [-3] NUMBER[,ARGUMENT]…     -3: by int 0x80, the 32-bit ABI
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long call32(long number, long argument)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(argument), "c"(0), "d"(0), "S"(0), "D"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

int main(int argc, char **argv)
{
	bool is_32 = argc > 1 && strcmp(argv[1], "-3") == 0;

	for (int i = is_32 ? 2 : 1; i < argc; i++) {
		char *comma = strchr(argv[i], ',');
		long argument = comma ? strtol(comma + 1, NULL, 0) : 0, result;

		errno = 0;
		if (is_32) {
			result = call32(strtol(argv[i], NULL, 0), argument);
			errno = result < 0 ? (int)-result : 0;
		} else {
			result = syscall(strtol(argv[i], NULL, 0), argument, 0, 0, 0, 0, 0);
			errno = result == -1 ? errno : 0;
		}
		(void)printf("%s%s", i == (is_32 ? 2 : 1) ? "" : " ",
			     errno ? strerrorname_np(errno) : "ok");
	}
	(void)printf("\n");
	return 0;
}
