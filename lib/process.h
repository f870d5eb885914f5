/* SPDX-License-Identifier: Apache-2.0 */
/* What a forked child does before it executes a program that is not ours. */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

/** process_reset_signals() - Every signal's action as a fresh process has it; async-signal-safe, leaves the mask alone */
void process_reset_signals(void);

#endif
