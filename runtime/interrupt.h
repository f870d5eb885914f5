/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C while a container is being made: remembered, and passed on to the monitor, which gives up;
 * then everything is undone.
 */
#ifndef RUNTIME_INTERRUPT_H
#define RUNTIME_INTERRUPT_H

#include "lib/err.h"

/** interrupt_begin() - From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT do not end this process */
void interrupt_begin(void);
/** interrupt_signal() - The first that came, 0 if none */
int interrupt_signal(void);
/**
 * interrupt_status() - The end of a command that a signal may have interrupted
 * @r:		What it came to
 * @name:	The command's
 * Return: 128+n, reported, when @r is -EINTR and signal n came; else @r
 */
int interrupt_status(int r, const char *name, struct err *err);

#endif
