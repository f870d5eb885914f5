/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More memory for a guest that runs, when `update` raises its container's limit beyond what it was made with.
 *
 *   command ─GROW_MEMORY─▶ monitor ─GROW_MEMORY─▶ vmm: the memory is there, the device says so
 *                                 ◀─MEMORY_GROWN─
 *                                 ─GrowMemory──▶ agent: binds the device, waits until the guest's kernel has taken it over
 *           ◀────DONE──────────── ◀───────────────
 *
 * The command has raised the host's limit before, so that what the guest may touch fits. What was granted is never taken
 * back: the vmm and the agent are told sums.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/cleanup.h"
#include "shim/client.h"

static void on_grown(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;

	c->shim->memory_client = NULL;
	c->shim->memory_granted = false;
	client_on_answer(result, c);
}

static void finish(struct shim *s, const struct err *err)
{
	struct client *c = take_ptr(&s->memory_client);

	c->calls--;
	if (c->source.fd < 0)
		client_close(c);
	else
		client_finish(c, -err->code, err);
}

static void ask_agent(struct shim *s)
{
	struct err err = {0};
	int r = agent_grow_memory(s, s->memory_added, on_grown, s->memory_client);

	s->memory_granted = r == 0;
	if (r < 0) {
		(void)err_sys(&err, -r, "asking the agent");
		finish(s, &err);
	}
}

/* One request at a time, since answers of the vmm carry no number */
void handle_grow_memory(struct client *c, const struct control_request *request, int fd)
{
	struct shim *s = c->shim;
	uint64_t wanted = request->args[0] * CONTROL_MEMORY_UNIT, has = s->args->memory_bytes;
	struct err err = {0};

	(void)fd;
	if (s->memory_client || s->phase != SHIM_SERVING) {
		client_refuse(c, s->memory_client ? EBUSY : ESRCH,
			      s->memory_client ? "memory is being added already"
					       : "container not running");
		return;
	}
	s->memory_client = c;
	s->memory_wanted = wanted > has ? wanted - has : 0;
	s->memory_wanted = (s->memory_wanted + MACHINE_MEMORY_STEP - 1) / MACHINE_MEMORY_STEP *
			   MACHINE_MEMORY_STEP;
	client_wait(c, 0);
	if (s->memory_wanted <= s->memory_added)
		ask_agent(s);
	else if (vmm_grow_memory(&s->vmm, s->memory_wanted, &err) < 0)
		finish(s, &err);
}

void memory_on_vmm(struct shim *s, const struct vmm_msg *msg)
{
	struct err err = {0};

	/* Nobody has asked: a vmm that was taken over */
	if (!s->memory_client || s->memory_granted)
		return;
	if (!msg->flags) {
		s->memory_added = s->memory_wanted;
		ask_agent(s);
		return;
	}
	(void)err_set(&err, (int)msg->flags, "the guest cannot have more memory: %.256s",
		      msg->text);
	text_clean(err.msg);
	finish(s, &err);
}

void memory_on_gone(struct shim *s)
{
	struct err err = {0};

	/* With a call under way its callback does it */
	if (!s->memory_client || s->memory_granted)
		return;
	(void)err_set(&err, ESRCH, "the guest is gone");
	finish(s, &err);
}
