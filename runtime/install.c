/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson install`: tell an engine of this runtime, or take that back.
 *
 *   Docker       /etc/docker/daemon.json, merged              (install_docker.c)
 *   Podman       /etc/containers/containers.conf.d/caisson.conf
 *   CRI-O        /etc/crio/crio.conf.d/caisson.conf           (install_dropin.c)
 *   containerd   /etc/containerd/conf.d/caisson.toml, if config.toml imports it
 *
 * A file is replaced at once (a new one, renamed) and keeps its owner and mode. Nothing is written when it says already what it should,
 * and what is not ours is neither overwritten nor removed. The engine is not restarted: the command says how.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "runtime/commands.h"
#include "runtime/install.h"

struct install_options {
	bool docker, containerd, podman, crio, print, undo;
	const char *file, *program;
};

#define O(name_, kind_, member_, help_)                                                            \
	{                                                                                          \
		.name = name_, .kind = kind_, .offset = offsetof(struct install_options, member_), \
		.help = help_                                                                      \
	}

static const struct cli_option options[] = {
	O("docker", CLI_BOOL, docker, "Docker: daemon.json"),
	O("containerd", CLI_BOOL, containerd, "containerd's CRI plugin: a drop-in of config.toml"),
	O("podman", CLI_BOOL, podman, "Podman: a drop-in of containers.conf"),
	O("crio", CLI_BOOL, crio, "CRI-O: a drop-in of crio.conf"),
	O("print", CLI_BOOL, print, "show the configuration, write nothing"),
	O("undo", CLI_BOOL, undo, "take out what was put in"),
	O("file", CLI_STRING, file,
	  "the engine's file instead of the usual one (containerd: its config.toml)"),
	O("program", CLI_STRING, program, "the runtime's path (default: this program's)"),
	{0},
};

enum engine { DOCKER, CONTAINERD, PODMAN, CRIO };

static const struct {
	const char *option;
	const char *file,
		*user_file; /* user_file: below the configuration folder of others than root */
	int (*snippet)(struct buf *out, const char *program);
	const char *next, *use;
} engines[] = {
	[DOCKER] = {"docker", "/etc/docker/daemon.json", "docker/daemon.json",
		    install_snippet_docker, "systemctl reload docker",
		    "docker run --runtime " INSTALL_NAME " IMAGE"},
	[CONTAINERD] = {"containerd", "/etc/containerd/config.toml", NULL,
			install_snippet_containerd, "systemctl restart containerd",
			"a Kubernetes RuntimeClass with the handler " INSTALL_NAME},
	[PODMAN] = {"podman", "/etc/containers/containers.conf.d/caisson.conf",
		    "containers/containers.conf.d/caisson.conf", install_snippet_podman, NULL,
		    "podman --runtime " INSTALL_NAME " run IMAGE"},
	[CRIO] = {"crio", "/etc/crio/crio.conf.d/caisson.conf", NULL, install_snippet_crio,
		  "systemctl restart crio",
		  "a Kubernetes RuntimeClass with the handler " INSTALL_NAME},
};

struct install {
	enum engine engine;
	const struct install_options *options;
	char file[PATH_MAX];	/* that is written */
	char config[PATH_MAX];	/* containerd: that has to import it */
	char program[PATH_MAX]; /* the runtime */
};

/* ---- which engine, which file, which program ---- */

static int choose_engine(const struct install_options *o, enum engine *out, struct err *err)
{
	const bool given[] = {o->docker, o->containerd, o->podman, o->crio};
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		if (given[i])
			*out = (enum engine)i;
		n += given[i];
	}
	if (n != 1)
		return err_set(err, CLI_USAGE,
			       "give one of --docker, --containerd, --podman and --crio");
	if (o->print && o->undo)
		return err_set(err, CLI_USAGE, "--print and --undo exclude each other");
	return 0;
}

static int usual_file(enum engine engine, char *out, size_t size)
{
	const char *user_file = engines[engine].user_file;
	const char *dir = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (geteuid() == 0 || !user_file)
		return snprintf(out, size, "%s", engines[engine].file);
	if (dir && dir[0] == '/')
		return snprintf(out, size, "%s/%s", dir, user_file);
	return snprintf(out, size, "%s/.config/%s", home && home[0] == '/' ? home : "", user_file);
}

static int choose_file(struct install *i, struct err *err)
{
	const char *given = i->options->file;
	char *to = i->engine == CONTAINERD ? i->config : i->file;
	cleanup_free char *cwd = NULL;
	int n;

	if (!given || !given[0]) {
		n = usual_file(i->engine, to, PATH_MAX);
	} else if (given[0] == '/') {
		n = snprintf(to, PATH_MAX, "%s", given);
	} else {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return err_sys(err, errno, "the current directory");
		n = snprintf(to, PATH_MAX, "%s/%s", cwd, given);
	}
	if (n >= 0 && n < PATH_MAX && i->engine == CONTAINERD)
		n = snprintf(i->file, PATH_MAX, "%.*sconf.d/caisson.toml",
			     (int)(strrchr(to, '/') + 1 - to), to);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "the file's path is too long");
	return 0;
}

/* It stands between quotes in files of three languages */
static int choose_program(struct install *i, struct err *err)
{
	const char *given = i->options->program;
	ssize_t n;

	if (given && given[0]) {
		n = snprintf(i->program, sizeof(i->program), "%s", given);
	} else {
		n = readlink("/proc/self/exe", i->program, sizeof(i->program) - 1);
		if (n < 0)
			return err_sys(err, errno, "/proc/self/exe");
		i->program[n] = '\0';
	}
	if (n < 0 || (size_t)n >= sizeof(i->program))
		return err_set(err, ENAMETOOLONG, "the program's path is too long");
	if (i->program[0] != '/')
		return err_set(err, EINVAL, "--program: '%.200s' is not absolute", i->program);
	for (const char *c = i->program; *c; c++) {
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			return err_set(err, EINVAL,
				       "the program's path '%.200s' has characters that engines' "
				       "files cannot name",
				       i->program);
	}
	return 0;
}

/* ---- reading and writing ---- */

/* Return: 1; 0 with @out NULL if there is none; -errno */
static int read_file(const char *path, char **out, struct err *err)
{
	cleanup_close int fd = io_open_regular(path);
	ssize_t n;

	if (fd == -ENOENT)
		return 0;
	if (fd == -EINVAL)
		return err_set(err, EINVAL, "'%s' is not a regular file", path);
	if (fd < 0)
		return err_sys(err, -fd, "cannot open '%s'", path);
	n = io_read_open(fd, path, INSTALL_FILE_MAX, out, err);
	if (n >= 0 && strlen(*out) != (size_t)n)
		return err_set(err, EINVAL, "'%s' has NUL bytes", path);
	return n < 0 ? (int)n : 1;
}

/* Those of an engine that is not there yet, or has no drop-ins yet */
static int make_folders(const char *path, struct err *err)
{
	char dir[PATH_MAX];

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_sys(err, errno, "cannot make '%s'", dir);
	}
	return 0;
}

static int apply(const struct install *i, const struct install_change *change, struct err *err)
{
	int r;

	if (!change->text)
		return unlink(i->file) < 0 ? err_sys(err, errno, "cannot remove '%s'", i->file) : 0;
	r = make_folders(i->file, err);
	return r < 0 ? r : io_rewrite_file(i->file, change->text, change->len, err);
}

/* ---- what is to change ---- */

static int snippet(const struct install *i, bool old_containerd, struct install_change *out,
		   struct err *err)
{
	struct buf text = {.max = INSTALL_FILE_MAX};
	int r = old_containerd ? install_snippet_containerd_1(&text, i->program)
			       : engines[i->engine].snippet(&text, i->program);

	if (r == 0)
		r = buf_append(&text, "", 1);
	if (r < 0) {
		buf_release(&text);
		return err_sys(err, -r, "install");
	}
	*out = (struct install_change){.text = (char *)text.data, .len = text.len - 1};
	return 0;
}

static int plan_drop_in(const struct install *i, const char *text, struct install_change *out,
			struct err *err)
{
	int r;

	if (text && !install_is_ours(text))
		return err_set(err, EEXIST,
			       "'%s' is there already, and was not written by 'caisson install'",
			       i->file);
	if (i->options->undo) {
		*out = (struct install_change){.none = !text};
		return 0;
	}
	r = snippet(i, false, out, err);
	if (r == 0 && text && strcmp(text, out->text) == 0) {
		free(out->text);
		*out = (struct install_change){.none = true};
	}
	return r;
}

/* Return: 0 if containerd will read our drop-in; else the refusal, after the lines that it takes by hand */
static int check_containerd(const struct install *i, struct err *err)
{
	struct install_change change = {0};
	cleanup_free char *text = NULL;
	unsigned long version = 1;
	bool imports;
	int r = read_file(i->config, &text, err);

	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ENXIO,
			       "'%s' is missing: make it with 'containerd config default', and "
			       "see to its line imports = [\"%s\"]",
			       i->config, i->file);
	imports = install_containerd_reads(text, i->config, i->file, &version);
	if (version >= 3 && imports)
		return 0;
	r = snippet(i, version < 3, &change, err);
	if (r < 0)
		return r;
	(void)printf("%s", change.text);
	free(change.text);
	if (version < 3)
		return err_set(err, ENOTSUP,
			       "'%s' is of version %lu, where a drop-in would replace all settings "
			       "of the plugin: put the lines above at its end",
			       i->config, version);
	return err_set(err, ENOTSUP,
		       "'%s' does not import '%s', which is to have the lines above: add it to "
		       "the list 'imports' and call this again",
		       i->config, i->file);
}

static int plan(const struct install *i, struct install_change *out, struct err *err)
{
	cleanup_free char *text = NULL;
	int r = 0;

	if (i->engine == CONTAINERD && !i->options->undo)
		r = check_containerd(i, err);
	if (r == 0)
		r = read_file(i->file, &text, err);
	if (r < 0)
		return r;
	if (i->engine != DOCKER)
		return plan_drop_in(i, text, out, err);
	if (i->options->undo)
		return install_daemon_json_undo(i->file, text, i->program, out, err);
	return install_daemon_json(i->file, text, i->program, out, err);
}

/* ---- the command ---- */

static void tell(const struct install *i, const struct install_change *change)
{
	const char *engine = engines[i->engine].option, *next = engines[i->engine].next;

	if (change->none) {
		(void)printf("%s %s: nothing to do\n", i->file,
			     i->options->undo ? "does not have it" : "has it already");
		return;
	}
	(void)printf(i->options->undo ? "Took runtime '%s' (%s) out of %s\n"
				      : "The runtime '%s' is %s in %s\n",
		     INSTALL_NAME, i->program, i->file);
	if (next)
		(void)printf("Next:  %s\n", next);
	if (i->options->undo)
		return;
	(void)printf("Use:   %s\n", engines[i->engine].use);
	(void)printf("Undo:  caisson install --%s --undo", engine);
	if (i->options->file && i->options->file[0])
		(void)printf(" --file %s", i->options->file);
	if (i->engine == DOCKER && i->options->program && i->options->program[0])
		(void)printf(" --program %s", i->options->program);
	(void)printf("\n");
}

/* As the file of containerd that is there wants it */
static int print(const struct install *i, struct err *err)
{
	struct install_change change = {0};
	cleanup_free char *text = NULL;
	unsigned long version = 3;
	int r = 0;

	if (i->engine == CONTAINERD)
		r = read_file(i->config, &text, err);
	if (r > 0)
		(void)install_containerd_reads(text, i->config, i->file, &version);
	if (r >= 0)
		r = snippet(i, version < 3, &change, err);
	if (r < 0)
		return r;
	(void)printf("%s", change.text);
	free(change.text);
	return 0;
}

static int run_install(const struct globals *globals, const void *opaque,
		       const struct cli_args *args, struct err *err)
{
	struct install install = {.options = opaque};
	struct install_change change = {0};
	int r = choose_engine(opaque, &install.engine, err);

	(void)globals;
	(void)args;
	if (r == 0)
		r = choose_file(&install, err);
	if (r == 0)
		r = choose_program(&install, err);
	if (r < 0)
		return r;
	if (install.options->print)
		return print(&install, err);
	r = plan(&install, &change, err);
	if (r == 0 && !change.none)
		r = apply(&install, &change, err);
	if (r == 0)
		tell(&install, &change);
	free(change.text);
	return r;
}

const struct cli_command command_install = {
	.name = "install",
	.summary = "register this runtime with an engine",
	.usage = "",
	.description = "One of --docker, --containerd, --podman and --crio. What is in the "
		       "engine's configuration stays.",
	.options = options,
	.options_size = sizeof(struct install_options),
	.run = run_install,
};
