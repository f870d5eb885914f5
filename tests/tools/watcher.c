/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An inotify watcher for containers of tests/vm/inotify.bats: a line for each event, written at once.
 *
 *   watcher LOG PATH...      writes "watching", then "INDEX EVENTS NAME" to LOG
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS                                                                            \
	(IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | \
	 IN_MOVED_TO)

static const struct {
	uint32_t bit;
	const char *name;
} names[] = {{IN_MODIFY, "MODIFY"},	{IN_ATTRIB, "ATTRIB"},	 {IN_CLOSE_WRITE, "CLOSE_WRITE"},
	     {IN_CREATE, "CREATE"},	{IN_DELETE, "DELETE"},	 {IN_MOVED_FROM, "MOVED_FROM"},
	     {IN_MOVED_TO, "MOVED_TO"}, {IN_IGNORED, "IGNORED"}, {IN_Q_OVERFLOW, "OVERFLOW"},
	     {IN_ISDIR, "ISDIR"}};

static void tell(int out, const struct inotify_event *e)
{
	char line[512], bits[128] = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(e->mask & names[i].bit))
			continue;
		if (bits[0])
			strcat(bits, ",");
		strcat(bits, names[i].name);
	}
	(void)snprintf(line, sizeof(line), "%d %s %s\n", e->wd, bits, e->len ? e->name : ".");
	(void)!write(out, line, strlen(line));
}

int main(int argc, char **argv)
{
	char buffer[65536] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_CLOEXEC), out;

	if (argc < 3 || fd < 0)
		return 2;
	out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	for (int i = 2; i < argc; i++)
		if (inotify_add_watch(fd, argv[i], EVENTS) < 0)
			return 1;
	(void)!write(out, "watching\n", 9);
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));

		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buffer + at);

			tell(out, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}
