/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the control socket's messages. Pure functions over one struct that was copied out of the socket once: no
 * descriptor is touched here, so that the fuzz target (tests/fuzz/control_fuzz.c) needs nothing else.
 */
#include "shim/protocol.h"

#include <errno.h>
#include <string.h>

#include "oci/config.h"

static const char *const type_names[CONTROL_TYPE_END] = {
	[CONTROL_PING] = "ping",     [CONTROL_START] = "start",
	[CONTROL_SIGNAL] = "signal", [CONTROL_STOP] = "stop",
	[CONTROL_EXEC] = "exec",     [CONTROL_RESIZE] = "resize",
	[CONTROL_PAUSE] = "pause",   [CONTROL_RESUME] = "resume",
	[CONTROL_PIDS] = "pids",     [CONTROL_PROCESSES] = "processes",
	[CONTROL_STATS] = "stats",   [CONTROL_EVENTS] = "events",
	[CONTROL_UPDATE] = "update", [CONTROL_GROW_MEMORY] = "grow memory",
};

const char *control_type_name(uint32_t type)
{
	return type < CONTROL_TYPE_END && type_names[type] ? type_names[type] : "?";
}

void control_request_init(struct control_request *request, enum control_type type)
{
	memset(request, 0, sizeof(*request));
	request->magic = CONTROL_MAGIC;
	request->version = CONTROL_VERSION;
	request->type = type;
}

/* EXEC and UPDATE: a document beside the message */
static int document_check(const struct control_request *request, size_t nfds, struct err *err)
{
	bool is_exec = request->type == CONTROL_EXEC;
	uint32_t flags = is_exec ? CONTROL_EXEC_TERMINAL | CONTROL_EXEC_IGNORE_PAUSED : 0;
	uint32_t max = is_exec ? OCI_PROCESS_MAX : OCI_RESOURCES_MAX;
	const char *name = control_type_name(request->type);

	if (request->flags & ~flags)
		return err_set(err, EINVAL, "control request %s: unknown flags 0x%x", name,
			       request->flags);
	if (!request->payload_len || request->payload_len > max)
		return err_set(err, EINVAL, "control request %s: a document of %u bytes", name,
			       request->payload_len);
	if (!is_exec && (request->exec_id[0] || request->cgroup[0]))
		return err_set(err, EINVAL, "control request %s: it has no exec id", name);
	if (is_exec && (!request->args[0] || request->args[0] > CONTROL_PID_MAX))
		return err_set(err, EINVAL, "control request exec: %u is no process's number",
			       request->args[0]);
	if (nfds != 1)
		return err_set(err, EINVAL, "control request %s: %zu descriptors instead of one",
			       name, nfds);
	return 0;
}

static int fields_check(const struct control_request *request, struct err *err)
{
	const char *name = control_type_name(request->type);
	uint32_t flags = request->type == CONTROL_SIGNAL ? CONTROL_SIGNAL_ALL : 0;

	if (request->flags & ~flags)
		return err_set(err, EINVAL, "control request %s: unknown flags 0x%x", name,
			       request->flags);
	if (request->type == CONTROL_SIGNAL &&
	    (!request->args[0] || request->args[0] > CONTROL_SIGNAL_MAX))
		return err_set(err, EINVAL, "control request signal: there is no signal %u",
			       request->args[0]);
	if (request->type == CONTROL_RESIZE &&
	    (request->args[0] > UINT16_MAX || request->args[1] > UINT16_MAX))
		return err_set(err, EINVAL, "control request resize: %u rows and %u columns",
			       request->args[0], request->args[1]);
	if (request->type == CONTROL_GROW_MEMORY &&
	    (!request->args[0] || request->args[0] > CONTROL_MEMORY_MAX))
		return err_set(err, EINVAL, "control request grow memory: %u MiB",
			       request->args[0]);
	if (request->payload_len || request->exec_id[0] || request->cgroup[0])
		return err_set(err, EINVAL, "control request %s: it has no payload", name);
	return 0;
}

int control_request_check(const struct control_request *request, size_t len, size_t nfds,
			  struct err *err)
{
	if (len != sizeof(*request) || request->magic != CONTROL_MAGIC) {
		/* Another version may have another size: its first words say so */
		if (len >= 2 * sizeof(uint32_t) && request->magic == CONTROL_MAGIC &&
		    request->version != CONTROL_VERSION)
			return err_set(err, EPROTONOSUPPORT,
				       "control protocol version %u is not %u", request->version,
				       CONTROL_VERSION);
		return err_set(err, EPROTO, "control request of %zu bytes is not one", len);
	}
	if (request->version != CONTROL_VERSION)
		return err_set(err, EPROTONOSUPPORT, "control protocol version %u is not %u",
			       request->version, CONTROL_VERSION);
	if (!request->type || request->type >= CONTROL_TYPE_END)
		return err_set(err, ENOSYS, "control request %u is unknown", request->type);
	if (request->reserved)
		return err_set(err, EINVAL, "control request %s: reserved field is set",
			       control_type_name(request->type));
	if (!memchr(request->exec_id, 0, sizeof(request->exec_id)) ||
	    !memchr(request->cgroup, 0, sizeof(request->cgroup)))
		return err_set(err, EINVAL, "control request %s: a text has no end",
			       control_type_name(request->type));
	if (request->type == CONTROL_EXEC || request->type == CONTROL_UPDATE)
		return document_check(request, nfds, err);
	if (nfds)
		return err_set(err, EINVAL, "control request %s: unexpected descriptor",
			       control_type_name(request->type));
	return fields_check(request, err);
}

int control_reply_check(const struct control_reply *reply, size_t len, struct err *err)
{
	/* What the code may be, by type */
	static const struct {
		int32_t min, max;
	} codes[] = {
		[CONTROL_REPLY_DONE] = {-4095, 0},
		[CONTROL_REPLY_EXIT] = {0, 255},
		[CONTROL_REPLY_EVENT] = {CONTROL_EVENT_OOM, CONTROL_EVENT_OOM},
	};

	if (len != sizeof(*reply) || reply->magic != CONTROL_MAGIC ||
	    reply->version != CONTROL_VERSION || reply->payload_len > CONTROL_ANSWER_MAX ||
	    !memchr(reply->text, 0, sizeof(reply->text)) || !reply->type ||
	    reply->type >= sizeof(codes) / sizeof(codes[0]))
		return err_set(err, EPROTO,
			       "the monitor gave an answer that this version does not understand");
	if (reply->code < codes[reply->type].min || reply->code > codes[reply->type].max)
		return err_set(err, EPROTO, "the monitor gave an answer out of range (%d)",
			       reply->code);
	return 0;
}

/* Length of the valid UTF-8 sequence of two to four bytes at @p, 0 if there is none; C1 controls do not count */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = p[0] >= 0xc2 && p[0] < 0xe0	 ? 2
		   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) ||
	    (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return n;
}

void text_clean(char *text)
{
	unsigned char *p = (unsigned char *)text;

	while (*p) {
		size_t n = *p < 0x80 ? *p >= 0x20 && *p != 0x7f : utf8_len(p);

		if (!n) {
			*p = '?';
			n = 1;
		}
		p += n;
	}
}
