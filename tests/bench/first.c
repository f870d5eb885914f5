/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's program: its first instruction of any use writes one line. As a container's process it then ends; as PID 1 of a
 * machine (argv[1] = "wait", or no argument as the kernel starts it) it waits to be killed with its machine.
 */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)!write(1, "first\n", 6);
	if (argc > 1 && !strcmp(argv[1], "end"))
		return 0;
	for (;;)
		pause();
}
