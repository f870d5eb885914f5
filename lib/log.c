/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: see lib/log.h. The state below is the one permitted global; main() sets it, children inherit it.
 *
 * A line is formatted into a buffer of fixed size and written by one write(2) on an O_APPEND descriptor, so that the lines
 * of several processes never mix, no heap is needed, and a full pipe or a closed descriptor costs only the line: the log
 * never blocks longer than write(2) itself and never fails its caller. errno is kept.
 *
 * Both forms are runc's, which are those of the Go package logrus: time="2026-01-02T15:04:05Z" level=error msg="…" and
 * {"level":"error","msg":"…","time":"…"}. The message is always quoted.
 *
 * Text may hold anything: a guest's console, a container's file names. Quotes, backslashes, newlines and tabs are escaped
 * as in C; every other byte that is not printable ASCII or part of well-formed UTF-8 becomes \xNN in text form, \u00NN in
 * JSON form (ill-formed UTF-8 becomes U+FFFD), so that one call is always one line and a guest can neither forge a line
 * nor send escape sequences to the administrator's terminal. C1 controls (U+0080 to U+009F) are controls too.
 *
 * Threads: the vmm logs from several; each line is one write, and the settings change only before threads exist. A rate
 * limit belongs to one call site; its counters may be off by a few when two threads race, which does no harm, so they are
 * accessed with relaxed atomics.
 */
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 4096 /* bytes of one message before escaping; the rest is cut */
#define LINE_MAX_BYTES (6 * MESSAGE_MAX + 512)
#define CONTEXT_MAX 128
#define RATE_BURST 10u
#define NS_PER_S 1000000000ull

static struct {
	int fd;
	bool own;
	enum log_level level;
	enum log_format format;
	char context[CONTEXT_MAX + 1];
} state = {.fd = STDERR_FILENO, .level = LOG_WARN};

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

static void put(struct line *line, const char *s, size_t n)
{
	if (n > sizeof(line->text) - line->len)
		n = sizeof(line->text) - line->len;
	memcpy(line->text + line->len, s, n);
	line->len += n;
}

static void puts_raw(struct line *line, const char *s)
{
	put(line, s, strlen(s));
}

/* Length of the well-formed, printable, non-ASCII UTF-8 character at @s (NUL-terminated), 0 if there is none */
static size_t utf8_length(const unsigned char *s)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	uint32_t c;

	if (n == 0 || s[0] >= 0xf5)
		return 0;
	c = s[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	if (c < 0xa0 || c == 0x2028 || c == 0x2029) /* C1 controls, line and paragraph separator */
		return 0;
	return n;
}

/* One byte that may not stand in a line as it is */
static void put_hex(struct line *line, unsigned char c, bool json)
{
	char hex[8];

	if (json && c >= 0x80) {
		puts_raw(line, "\\ufffd");
		return;
	}
	(void)snprintf(hex, sizeof(hex), json ? "\\u%04x" : "\\x%02x", c);
	puts_raw(line, hex);
}

static void put_escaped(struct line *line, const char *text, bool json)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t n = utf8_length(s);

		if (n > 0) {
			put(line, (const char *)s, n);
			s += n;
			continue;
		}
		if (*s == '"' || *s == '\\')
			put(line, "\\", 1);
		if (*s == '\n')
			puts_raw(line, "\\n");
		else if (*s == '\t')
			puts_raw(line, "\\t");
		else if (*s >= 0x20 && *s < 0x7f)
			put(line, (const char *)s, 1);
		else
			put_hex(line, *s, json);
		s++;
	}
}

static void put_time(struct line *line)
{
	struct timespec now = {0};
	struct tm tm = {0};
	char text[40];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	puts_raw(line, text);
}

static void put_message(struct line *line, const char *message, bool json)
{
	if (state.context[0]) {
		put_escaped(line, state.context, json);
		puts_raw(line, ": ");
	}
	put_escaped(line, message, json);
}

static void write_line(enum log_level level, const char *message)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	struct line line;
	ssize_t n;

	line.len = 0;
	if (state.format == LOG_FORMAT_JSON) {
		puts_raw(&line, "{\"level\":\"");
		puts_raw(&line, names[level]);
		puts_raw(&line, "\",\"msg\":\"");
		put_message(&line, message, true);
		puts_raw(&line, "\",\"time\":\"");
		put_time(&line);
		puts_raw(&line, "\"}\n");
	} else {
		puts_raw(&line, "time=\"");
		put_time(&line);
		puts_raw(&line, "\" level=");
		puts_raw(&line, names[level]);
		puts_raw(&line, " msg=\"");
		put_message(&line, message, false);
		puts_raw(&line, "\"\n");
	}
	do {
		n = write(state.fd, line.text, line.len);
	} while (n < 0 && errno == EINTR);
}

__attribute__((format(printf, 2, 0))) static void write_formatted(enum log_level level,
								  const char *fmt, va_list ap)
{
	char message[MESSAGE_MAX];
	int n;

	n = vsnprintf(message, sizeof(message), fmt, ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(message))
		memcpy(message + sizeof(message) - 4, "...", 4);
	write_line(level, message);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (level > state.level || state.fd < 0)
		return;
	va_start(ap, fmt);
	write_formatted(level, fmt, ap);
	va_end(ap);
	errno = saved;
}

/* Takes a token if one is left; *dropped: lines suppressed since the last one that was allowed */
static bool take_token(struct log_ratelimit *rl, uint32_t *dropped)
{
	uint64_t last = __atomic_load_n(&rl->last_ns, __ATOMIC_RELAXED), ns, seconds;
	uint32_t tokens = __atomic_load_n(&rl->tokens, __ATOMIC_RELAXED);
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	if (!__atomic_load_n(&rl->started, __ATOMIC_RELAXED)) {
		__atomic_store_n(&rl->started, true, __ATOMIC_RELAXED);
		tokens = RATE_BURST;
		last = ns;
	}
	seconds = ns > last ? (ns - last) / NS_PER_S : 0;
	last += seconds * NS_PER_S;
	tokens = seconds >= RATE_BURST - tokens ? RATE_BURST : tokens + (uint32_t)seconds;
	__atomic_store_n(&rl->last_ns, last, __ATOMIC_RELAXED);
	__atomic_store_n(&rl->tokens, tokens > 0 ? tokens - 1 : 0, __ATOMIC_RELAXED);
	if (tokens == 0) {
		(void)__atomic_add_fetch(&rl->dropped, 1, __ATOMIC_RELAXED);
		return false;
	}
	*dropped = __atomic_exchange_n(&rl->dropped, 0, __ATOMIC_RELAXED);
	return true;
}

void log_guest_warn(struct log_ratelimit *rl, const char *fmt, ...)
{
	int saved = errno;
	uint32_t dropped = 0;
	va_list ap;

	if (LOG_WARN > state.level || state.fd < 0 || !take_token(rl, &dropped))
		return;
	if (dropped > 0)
		log_warn("%u similar lines dropped", dropped);
	va_start(ap, fmt);
	write_formatted(LOG_WARN, fmt, ap);
	va_end(ap);
	errno = saved;
}

static void set_fd(int fd, bool own)
{
	if (state.own && state.fd >= 0 && state.fd != fd)
		(void)close(state.fd);
	state.fd = fd;
	state.own = own;
}

int log_open(const char *path, enum log_format format, enum log_level level, struct err *err)
{
	int fd = STDERR_FILENO;
	int saved;

	state.format = format;
	state.level = level;
	if (path) {
		/* O_NONBLOCK: a fifo without a reader is an error, not a hang */
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
			  0644);
		if (fd < 0) {
			saved = errno;
			set_fd(STDERR_FILENO, false);
			return err_sys(err, saved, "cannot open the log file '%s'", path);
		}
		(void)fcntl(fd, F_SETFL, O_APPEND);
	}
	set_fd(fd, path != NULL);
	return 0;
}

void log_set_fd(int fd)
{
	set_fd(fd, false);
}

int log_fd(void)
{
	return state.fd;
}

void log_set_context(const char *context)
{
	(void)snprintf(state.context, sizeof(state.context), "%s", context ? context : "");
}

enum log_level log_get_level(void)
{
	return state.level;
}

void log_set_level(enum log_level level)
{
	state.level = level;
}

enum log_format log_get_format(void)
{
	return state.format;
}
