/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C while a container is being made: remembered, and passed on to the monitor, which gives up;
 * then everything is undone.
 */
#ifndef RUNTIME_INTERRUPT_H
#define RUNTIME_INTERRUPT_H

/** interrupt_begin() - From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT do not end this process */
void interrupt_begin(void);
/** interrupt_end() - They do again; blocked ones stay blocked */
void interrupt_end(void);
/** interrupt_signal() - The first that came, 0 if none */
int interrupt_signal(void);

#endif
