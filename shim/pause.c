/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pausing: the agent freezes the container's processes and writes the guest's cache back (guest/freezer.h); the vCPUs and
 * the agent itself go on, so the heartbeat, `ps` and `events` work meanwhile.
 *
 * That a container is paused is a file in the state directory, made and removed here when the agent has answered, so that what
 * `state` shows is what the guest does even if the command that asked was killed.
 */
#include "shim/client.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

static void set_paused(struct shim *s, bool paused)
{
	cleanup_close int fd = -1;

	s->paused = paused;
	if (paused) {
		fd = openat(s->state_fd, CONTROL_PAUSED_NAME,
			    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			log_warn("The state directory: %s; the container is shown as running",
				 err_reason(errno));
	} else {
		(void)unlinkat(s->state_fd, CONTROL_PAUSED_NAME, 0);
	}
}

static void on_frozen(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;

	if (result->code == TTRPC_OK)
		set_paused(c->shim, true);
	client_on_answer(result, arg);
}

static void on_thawed(const struct ttrpc_result *result, void *arg)
{
	struct client *c = arg;

	if (result->code == TTRPC_OK)
		set_paused(c->shim, false);
	client_on_answer(result, arg);
}

void handle_pause(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	if (c->shim->phase != SHIM_SERVING)
		client_refuse(c, ESRCH, "container not running");
	else
		client_wait(c, agent_ask(c->shim, "Freeze", on_frozen, c));
}

void handle_resume(struct client *c, const struct control_request *request, int fd)
{
	(void)request;
	(void)fd;
	if (c->shim->phase != SHIM_SERVING)
		client_refuse(c, ESRCH, "container not running");
	else
		client_wait(c, agent_ask(c->shim, "Thaw", on_thawed, c));
}

void pause_end(struct shim *s)
{
	if (!s->paused)
		return;
	(void)agent_ask(s, "Thaw", NULL, NULL);
	set_paused(s, false);
}
