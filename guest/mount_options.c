/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of words. "ro" and "rw" are one flag set and cleared; later words win over earlier ones, as with mount(8).
 *
 * For a bind mount a cleared flag is a wish of its own: "suid" takes nosuid off, which the source's mount may have. What a
 * bind mount cannot have for itself, since it is the file system's (sync, dirsync, mand, iversion, lazytime), stays the source's.
 */
#include "guest/mount_options.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/cleanup.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#define ATIME_FLAGS (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

struct flag_word {
	const char *word;
	bool clear;
	unsigned long flag;
};
static const struct flag_word flag_words[] = {
	{"async", true, MS_SYNCHRONOUS},
	{"atime", true, MS_NOATIME},
	{"bind", false, MS_BIND},
	{"defaults", false, 0},
	{"dev", true, MS_NODEV},
	{"diratime", true, MS_NODIRATIME},
	{"dirsync", false, MS_DIRSYNC},
	{"exec", true, MS_NOEXEC},
	{"iversion", false, MS_I_VERSION},
	{"lazytime", false, MS_LAZYTIME},
	{"loud", true, MS_SILENT},
	{"mand", false, MS_MANDLOCK},
	{"noatime", false, MS_NOATIME},
	{"nodev", false, MS_NODEV},
	{"nodiratime", false, MS_NODIRATIME},
	{"noexec", false, MS_NOEXEC},
	{"noiversion", true, MS_I_VERSION},
	{"nolazytime", true, MS_LAZYTIME},
	{"nomand", true, MS_MANDLOCK},
	{"norelatime", true, MS_RELATIME},
	{"nostrictatime", true, MS_STRICTATIME},
	{"nosuid", false, MS_NOSUID},
	{"nosymfollow", false, MS_NOSYMFOLLOW},
	{"rbind", false, MS_BIND | MS_REC},
	{"relatime", false, MS_RELATIME},
	{"remount", false, MS_REMOUNT},
	{"ro", false, MS_RDONLY},
	{"rw", true, MS_RDONLY},
	{"silent", false, MS_SILENT},
	{"strictatime", false, MS_STRICTATIME},
	{"suid", true, MS_NOSUID},
	{"symfollow", true, MS_NOSYMFOLLOW},
	{"sync", false, MS_SYNCHRONOUS},
};

static const struct flag_word propagation_words[] = {
	{"private", false, MS_PRIVATE},
	{"rprivate", false, MS_PRIVATE | MS_REC},
	{"rshared", false, MS_SHARED | MS_REC},
	{"rslave", false, MS_SLAVE | MS_REC},
	{"runbindable", false, MS_UNBINDABLE | MS_REC},
	{"shared", false, MS_SHARED},
	{"slave", false, MS_SLAVE},
	{"unbindable", false, MS_UNBINDABLE},
};

/* For the whole tree below: "r" and a word. Access times are one field of several values, so they clear it and set one. */
struct attr_word {
	const char *word;
	bool clear;
	uint64_t attr;
};
static const struct attr_word attr_words[] = {
	{"ro", false, MOUNT_ATTR_RDONLY},
	{"rw", true, MOUNT_ATTR_RDONLY},
	{"nosuid", false, MOUNT_ATTR_NOSUID},
	{"suid", true, MOUNT_ATTR_NOSUID},
	{"nodev", false, MOUNT_ATTR_NODEV},
	{"dev", true, MOUNT_ATTR_NODEV},
	{"noexec", false, MOUNT_ATTR_NOEXEC},
	{"exec", true, MOUNT_ATTR_NOEXEC},
	{"nodiratime", false, MOUNT_ATTR_NODIRATIME},
	{"diratime", true, MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", false, MOUNT_ATTR_NOSYMFOLLOW},
	{"symfollow", true, MOUNT_ATTR_NOSYMFOLLOW},
	{"relatime", false, MOUNT_ATTR_RELATIME},
	{"norelatime", true, MOUNT_ATTR__ATIME},
	{"noatime", false, MOUNT_ATTR_NOATIME},
	{"atime", true, MOUNT_ATTR__ATIME},
	{"strictatime", false, MOUNT_ATTR_STRICTATIME},
	{"nostrictatime", true, MOUNT_ATTR__ATIME},
};
static const char atime_words[] = " relatime norelatime noatime atime strictatime nostrictatime ";

static const struct flag_word *find_flag(const struct flag_word *table, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(table[i].word, word) == 0)
			return &table[i];
	}
	return NULL;
}

unsigned long mount_propagation_parse(const char *word)
{
	const struct flag_word *found = find_flag(propagation_words, ARRAY_SIZE(propagation_words),
						  word);

	return found ? found->flag : 0;
}

static bool take_recursive(const char *word, struct mount_options *out)
{
	if (word[0] != 'r')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(attr_words); i++) {
		const struct attr_word *w = &attr_words[i];
		const char *at;

		if (strcmp(w->word, word + 1) != 0)
			continue;
		at = strstr(atime_words, w->word);
		if (at && at[-1] == ' ' && at[strlen(w->word)] == ' ') {
			out->rec_clear |= MOUNT_ATTR__ATIME;
			out->rec_set = (out->rec_set & ~(uint64_t)MOUNT_ATTR__ATIME) |
				       (w->clear ? 0 : w->attr);
		} else if (w->clear) {
			out->rec_clear |= w->attr;
			out->rec_set &= ~w->attr;
		} else {
			out->rec_set |= w->attr;
			out->rec_clear &= ~w->attr;
		}
		return true;
	}
	return false;
}

static int take_data(const char *word, struct mount_options *out, struct err *err)
{
	size_t have = strlen(out->data), len = strlen(word);

	if (have + 1 + len > MOUNT_DATA_MAX)
		return err_set(err, E2BIG, "mount options are longer than %d bytes",
			       MOUNT_DATA_MAX);
	if (have)
		out->data[have++] = ',';
	memcpy(out->data + have, word, len + 1);
	return 0;
}

static void set_attrs(struct mount_options *out, unsigned long cleared)
{
	static const struct {
		unsigned long flag;
		uint64_t attr;
	} map[] = {
		{MS_RDONLY, MOUNT_ATTR_RDONLY},		{MS_NOSUID, MOUNT_ATTR_NOSUID},
		{MS_NODEV, MOUNT_ATTR_NODEV},		{MS_NOEXEC, MOUNT_ATTR_NOEXEC},
		{MS_NODIRATIME, MOUNT_ATTR_NODIRATIME}, {MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW},
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		if (out->flags & map[i].flag)
			out->attr_set |= map[i].attr;
		else if (cleared & map[i].flag)
			out->attr_clear |= map[i].attr;
	}
	/* One field of several values; with none of them it is relatime, the kernel's default */
	if (!((out->flags | cleared) & ATIME_FLAGS))
		return;
	out->attr_clear |= MOUNT_ATTR__ATIME;
	if (out->flags & MS_STRICTATIME)
		out->attr_set |= MOUNT_ATTR_STRICTATIME;
	else if (out->flags & MS_NOATIME)
		out->attr_set |= MOUNT_ATTR_NOATIME;
}

static int take_propagation(unsigned long flags, struct mount_options *out, struct err *err)
{
	if (out->npropagation == MOUNT_PROPAGATIONS_MAX)
		return err_set(err, E2BIG, "more than %d propagation options",
			       MOUNT_PROPAGATIONS_MAX);
	out->propagation[out->npropagation++] = flags;
	return 0;
}

static int take_word(const char *word, struct mount_options *out, unsigned long *cleared,
		     struct err *err)
{
	const struct flag_word *found = find_flag(flag_words, ARRAY_SIZE(flag_words), word);
	unsigned long propagation = mount_propagation_parse(word);

	if (found && found->flag == MS_NODEV)
		out->dev = found->clear;
	if (found && found->clear) {
		out->flags &= ~found->flag;
		*cleared |= found->flag;
	} else if (found) {
		out->flags |= found->flag;
		*cleared &= ~found->flag;
	} else if (propagation) {
		return take_propagation(propagation, out, err);
	} else if (strcmp(word, "tmpcopyup") == 0) {
		out->copy_up = true;
	} else if (!take_recursive(word, out)) {
		return take_data(word, out, err);
	}
	return 0;
}

int mount_options_parse(const struct oci_strings *options, struct mount_options *out,
			struct err *err)
{
	unsigned long cleared = 0;

	*out = (struct mount_options){0};
	for (size_t i = 0; i < options->n; i++) {
		int r = take_word(options->items[i], out, &cleared, err);

		if (r < 0)
			return r;
	}
	set_attrs(out, cleared);
	return 0;
}
