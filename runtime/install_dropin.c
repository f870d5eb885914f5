/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drop-ins: files of our own in a folder that the engine reads. They begin with a line by which they are recognised, so that a file of
 * the same name by somebody else is neither overwritten nor removed.
 *
 * containerd reads drop-ins only if its configuration imports them, and before its version 2 (format 3) an imported file takes
 * the place of the whole section of a plugin: there, the few lines have to be put into the file itself.
 */
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/install.h"

#define MARK "# Written by 'caisson install'"

bool install_is_ours(const char *text)
{
	return strncmp(text, MARK, strlen(MARK)) == 0;
}

static int header(struct buf *out, const char *engine)
{
	return buf_printf(out,
			  MARK " --%s; 'caisson install --%s --undo' removes it.\n"
			       "# Changes belong into another file.\n",
			  engine, engine);
}

int install_snippet_podman(struct buf *out, const char *program)
{
	int r = header(out, "podman");

	if (r < 0)
		return r;
	return buf_printf(
		out,
		"\n[engine]\n"
		"# The built-in lists, and caisson: its errors are JSON, and its guests need "
		"SELinux's label for them\n"
		"runtime_supports_json = [\"crun\", \"runc\", \"kata\", \"runsc\", \"youki\", "
		"\"krun\", \"ocijail\", \"crun-vm\", \"" INSTALL_NAME "\"]\n"
		"runtime_supports_kvm = [\"kata\", \"kata-runtime\", \"kata-qemu\", \"kata-fc\", "
		"\"krun\", \"crun-vm\", \"" INSTALL_NAME "\"]\n"
		"\n[engine.runtimes]\n" INSTALL_NAME " = [\"%s\"]\n",
		program);
}

int install_snippet_crio(struct buf *out, const char *program)
{
	int r = header(out, "crio");

	if (r < 0)
		return r;
	return buf_printf(out,
			  "\n[crio.runtime.runtimes." INSTALL_NAME "]\n"
			  "runtime_path = \"%s\"\n"
			  "runtime_type = \"oci\"\n"
			  "runtime_root = \"/run/caisson\"\n"
			  "privileged_without_host_devices = true\n",
			  program);
}

static int containerd(struct buf *out, const char *plugin, const char *program)
{
	return buf_printf(out,
			  "\n[plugins.\"%s\".containerd.runtimes." INSTALL_NAME "]\n"
			  "runtime_type = \"io.containerd.runc.v2\"\n"
			  "privileged_without_host_devices = true\n"
			  "\n[plugins.\"%s\".containerd.runtimes." INSTALL_NAME ".options]\n"
			  "BinaryName = \"%s\"\n",
			  plugin, plugin, program);
}

int install_snippet_containerd(struct buf *out, const char *program)
{
	int r = header(out, "containerd");

	if (r == 0)
		r = buf_printf(out, "\nversion = 3\n");
	return r < 0 ? r : containerd(out, "io.containerd.cri.v1.runtime", program);
}

int install_snippet_containerd_1(struct buf *out, const char *program)
{
	int r = buf_printf(out, "# containerd 1: at the end of /etc/containerd/config.toml "
				"(version = 2)\n");

	return r < 0 ? r : containerd(out, "io.containerd.grpc.v1.cri", program);
}

/* ---- the little of TOML that says who is imported ---- */

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t\r");
}

/* After "KEY =" on a line; NULL if it is another key */
static const char *value_of(const char *line, const char *key)
{
	size_t len = strlen(key);

	if (strncmp(line, key, len) != 0)
		return NULL;
	line = skip_blanks(line + len);
	return *line == '=' ? skip_blanks(line + 1) : NULL;
}

static bool pattern_matches(const char *pattern, size_t len, const char *config,
			    const char *drop_in)
{
	char full[PATH_MAX];
	const char *slash = strrchr(config, '/');
	int n;

	/* Relative ones begin at the folder of the file that imports */
	if (pattern[0] == '/')
		n = snprintf(full, sizeof(full), "%.*s", (int)len, pattern);
	else
		n = snprintf(full, sizeof(full), "%.*s/%.*s", slash ? (int)(slash - config) : 1,
			     slash ? config : ".", (int)len, pattern);
	return n > 0 && (size_t)n < sizeof(full) && fnmatch(full, drop_in, FNM_PATHNAME) == 0;
}

/* An array of strings, over several lines perhaps; @end: behind it */
static bool imports_match(const char *array, const char *config, const char *drop_in,
			  const char **end)
{
	bool found = false;
	const char *s = array;

	for (*end = s; *s == '[' || *s == ',' || *s == '\n' || *s == ' ' || *s == '\t' ||
		       *s == '\r' || *s == '#' || *s == '"' || *s == '\'';
	     *end = s) {
		size_t len;

		if (*s == '#') {
			s += strcspn(s, "\n");
			continue;
		}
		if (*s != '"' && *s != '\'') {
			s++;
			continue;
		}
		len = strcspn(s + 1, *s == '"' ? "\"\n" : "'\n");
		if (s[1 + len] != *s)
			return found;
		found = found || pattern_matches(s + 1, len, config, drop_in);
		s += len + 2;
	}
	return found;
}

bool install_containerd_reads(const char *text, const char *config, const char *drop_in,
			      unsigned long *version)
{
	bool found = false;

	*version = 1;
	/* What is not in a table comes before the first one */
	for (const char *line = skip_blanks(text); *line && *line != '[';) {
		const char *value = value_of(line, "version"), *end = line;

		if (value)
			*version = strtoul(value, NULL, 10);
		value = value_of(line, "imports");
		if (value && *value == '[')
			found = imports_match(value, config, drop_in, &end) || found;
		line = end + strcspn(end, "\n");
		line = skip_blanks(*line ? line + 1 : line);
	}
	return found;
}
