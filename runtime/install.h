/* SPDX-License-Identifier: Apache-2.0 */
/* Registering with an engine: what the files of `caisson install` share. */
#ifndef RUNTIME_INSTALL_H
#define RUNTIME_INSTALL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

#define INSTALL_NAME "caisson"
#define INSTALL_FILE_MAX (1u << 20) /* bytes of an engine's configuration */

/* What an engine's file is to say afterwards; text NULL: the file goes */
struct install_change {
	char *text; /* owned */
	size_t len;
	bool none; /* it says so already */
};

/** install_daemon_json() - Docker's daemon.json with the runtime, or without it
 * @name:	What errors call it
 * @text:	The file; NULL when there is none
 * @program:	Absolute path of the runtime
 * Return: 0; -EEXIST if there is another runtime of our name, -EINVAL, -ENOMEM
 */
int install_daemon_json(const char *name, const char *text, const char *program,
			struct install_change *out, struct err *err);
int install_daemon_json_undo(const char *name, const char *text, const char *program,
			     struct install_change *out, struct err *err);

/** install_containerd_reads() - Whether containerd's configuration takes drop-ins from @drop_in, which lies below @config's folder
 * @version:	Set: the version of its format, 1 when it says none
 */
bool install_containerd_reads(const char *text, const char *config, const char *drop_in,
			      unsigned long *version);

/* The snippets, "" for Docker's, which is JSON: Return: 0 or -errno */
int install_snippet_docker(struct buf *out, const char *program);
int install_snippet_containerd(struct buf *out, const char *program);
int install_snippet_containerd_1(struct buf *out, const char *program);
int install_snippet_podman(struct buf *out, const char *program);
int install_snippet_crio(struct buf *out, const char *program);

/** install_is_ours() - Whether a drop-in was written by one of these */
bool install_is_ours(const char *text);

#endif
