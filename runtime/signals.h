/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUNTIME_SIGNALS_H
#define RUNTIME_SIGNALS_H

/** signal_parse() - "TERM", "sigterm", "15", "RTMIN+3" to a number from 0 to 64; -1 if it is none */
int signal_parse(const char *text);

#endif
