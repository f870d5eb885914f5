/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's decoder: any datagram with any number of descriptors. What is accepted must keep the promises that
 * shim/server.c relies on.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"
#include "shim/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const uint8_t *data, size_t size, size_t nfds)
{
	struct control_request request = {0};
	struct err err = {0};
	int r;

	memcpy(&request, data, size < sizeof(request) ? size : sizeof(request));
	r = control_request_check(&request, size, nfds, &err);
	if ((r < 0) != (err.code != 0) || (r < 0 && !err.msg[0]))
		abort();
	if (r < 0)
		return;
	if (!request.type || request.type >= CONTROL_TYPE_END ||
	    request.payload_len > OCI_PROCESS_MAX ||
	    !memchr(request.exec_id, 0, sizeof(request.exec_id)) ||
	    !memchr(request.cgroup, 0, sizeof(request.cgroup)) ||
	    (request.type == CONTROL_EXEC || request.type == CONTROL_UPDATE) != (nfds == 1))
		abort();
	if (request.type == CONTROL_EXEC &&
	    (request.args[0] < 1 || request.args[0] > CONTROL_PID_MAX))
		abort();
	if (request.type == CONTROL_SIGNAL && (request.args[0] < 1 || request.args[0] > 64))
		abort();
}

static void check_reply(const uint8_t *data, size_t size)
{
	struct control_reply reply = {0};
	struct err err = {0};

	memcpy(&reply, data, size < sizeof(reply) ? size : sizeof(reply));
	if (control_reply_check(&reply, size, &err) == 0 &&
	    (reply.code > 255 || reply.payload_len > CONTROL_ANSWER_MAX ||
	     !memchr(reply.text, 0, sizeof(reply.text))))
		abort();
	reply.text[sizeof(reply.text) - 1] = 0;
	text_clean(reply.text);
	for (const char *p = reply.text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request;

	if (size < 1)
		return 0;
	check_request(data + 1, size - 1, data[0] % 3);
	check_reply(data + 1, size - 1);
	/* Mostly valid: the first words are right, the rest is as it comes */
	control_request_init(&request, data[0] % (CONTROL_TYPE_END + 1));
	if (size - 1 < sizeof(request) - 12)
		return 0;
	memcpy((uint8_t *)&request + 12, data + 1, sizeof(request) - 12);
	check_request((const uint8_t *)&request, sizeof(request), data[0] / 16 % 3);
	return 0;
}
