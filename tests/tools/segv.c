/* SPDX-License-Identifier: Apache-2.0 */
/* A program that dies of a real fault: as PID 1 of a pid namespace no other SIGSEGV would reach it. */
int main(void)
{
	*(volatile int *)8 = 0;
	return 0;
}
