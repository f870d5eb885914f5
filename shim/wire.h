/* SPDX-License-Identifier: Apache-2.0 */
/* One request over the control socket, the commands' side: shared by control.c and query.c. */
#ifndef SHIM_WIRE_H
#define SHIM_WIRE_H

#include <time.h>

#include "shim/protocol.h"

#define WIRE_TIMEOUT_S 120 /* for any answer; the guest's heartbeat ends it earlier */

/** wire_connect() - Connect to the monitor; @timeout_s of each later call, 0: none; -ECONNREFUSED: container not running */
int wire_connect(int state_fd, time_t timeout_s, struct err *err);
/** wire_ask() - Send a request; a connection that was closed already may still hold an answer */
int wire_ask(int sock, const struct control_request *request, const int *fds, size_t nfds,
	     struct err *err);
/** wire_receive() - Receive the answer of a request, checked; Return: its code, or -errno when there is none */
int wire_receive(int sock, struct control_reply *reply, int *fds, size_t max_fds, size_t *nfds,
		 struct err *err);
/** wire_request() - All three, without descriptors */
int wire_request(int state_fd, const struct control_request *request, time_t timeout_s,
		 struct err *err);

#endif
