/* SPDX-License-Identifier: Apache-2.0 */
/* lib/log.c: one call is one line, in both forms, whatever bytes a guest put into it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/log.h"

static char dir[] = "/tmp/caisson-log-XXXXXX";
static char path[64];
static char text[1u << 20];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static void start(enum log_format format, enum log_level level)
{
	struct err err = {0};

	(void)unlink(path);
	assert_int_equal(log_open(path, format, level, &err), 0);
}

/* What was logged, with the log put back to standard error */
static const char *logged(void)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_int_equal(log_open(NULL, LOG_FORMAT_TEXT, LOG_WARN, NULL), 0);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static size_t lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void text_form(void **state)
{
	(void)state;
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_set_context("box");
	errno = EBADF;
	log_info("value %d", 5);
	assert_int_equal(errno, EBADF);
	log_set_context(NULL);
	log_warn("other");
	log_error("a \"quoted\" back\\slash");
	assert_int_equal(strncmp(logged(), "time=\"2", strlen("time=\"2")), 0);
	assert_int_equal(text[strlen("time=\"2026-01-02T15:04:05")], 'Z');
	assert_non_null(strstr(text, "Z\" level=info msg=\"box: value 5\"\n"));
	assert_non_null(strstr(text, "Z\" level=warning msg=\"other\"\n"));
	assert_non_null(strstr(text, "Z\" level=error msg=\"a \\\"quoted\\\" back\\\\slash\"\n"));
	assert_int_equal(lines(text), 3);
}

static void json_form(void **state)
{
	static const char wanted[] =
		"{\"level\":\"error\",\"msg\":\"a \\\"quoted\\\" back\\\\slash\",\"time\":\"2";

	(void)state;
	start(LOG_FORMAT_JSON, LOG_INFO);
	log_error("a \"quoted\" back\\slash");
	assert_int_equal(strncmp(logged(), wanted, strlen(wanted)), 0);
	assert_string_equal(text + strlen(text) - 4, "Z\"}\n");
}

static void levels_below_are_silent(void **state)
{
	(void)state;
	start(LOG_FORMAT_TEXT, LOG_WARN);
	assert_int_equal(log_get_level(), LOG_WARN);
	log_info("no");
	log_debug("no");
	log_error("yes");
	assert_int_equal(lines(logged()), 1);
}

static void hostile_bytes_stay_in_their_line(void **state)
{
	(void)state;
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_info("a\nb\r\033[31m\x80\xc3\xa9\xff\xc2\x9b\xe2\x80\xa8\x7f\xed\xa0\x80\xc0\xaf");
	assert_non_null(
		strstr(logged(),
		       "level=info "
		       "msg=\"a\\nb\\x0d\\x1b[31m\\x80\xc3\xa9\\xff\\xc2\\x9b\\xe2\\x80\\xa8\\x7f"
		       "\\xed\\xa0\\x80\\xc0\\xaf\"\n"));
	assert_int_equal(lines(text), 1);
	start(LOG_FORMAT_JSON, LOG_INFO);
	log_info("a\nb\t\"}\x01\xff\xc3\xa9\xf0\x9f\x98\x80\xf4\x90\x80\x80");
	assert_non_null(strstr(logged(),
			       "\"msg\":\"a\\nb\\t\\\"}\\u0001\\ufffd\xc3\xa9\xf0\x9f\x98\x80"
			       "\\ufffd\\ufffd\\ufffd\\ufffd\",\"time\""));
	assert_int_equal(lines(text), 1);
}

static void long_messages_are_cut(void **state)
{
	static char big[100000];

	(void)state;
	memset(big, '\n', sizeof(big) - 1);
	start(LOG_FORMAT_JSON, LOG_INFO);
	log_info("%s", big);
	assert_int_equal(lines(logged()), 1);
	assert_string_equal(text + strlen(text) - 4, "Z\"}\n");
	assert_non_null(strstr(text, "...\",\"time\""));
}

static void guest_lines_are_rate_limited(void **state)
{
	struct log_ratelimit rl = {0};

	(void)state;
	start(LOG_FORMAT_TEXT, LOG_WARN);
	for (int i = 0; i < 1000; i++)
		log_guest_warn(&rl, "again");
	assert_true(lines(logged()) >= 10);
	assert_true(lines(text) <
		    60); /* ten, and one for each second that this took on a slow machine */
	assert_true(rl.dropped > 0);
	start(LOG_FORMAT_TEXT, LOG_WARN);
	rl.last_ns -= 3000000000ull; /* three seconds later */
	log_guest_warn(&rl, "again");
	assert_non_null(strstr(logged(), " similar lines dropped"));
	assert_true(lines(text) == 2);
}

static void dropped_without_descriptor(void **state)
{
	(void)state;
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_set_fd(-1);
	assert_int_equal(log_fd(), -1);
	log_error("nowhere");
	assert_int_equal(lines(logged()), 0);
}

static void a_file_that_cannot_be_opened(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(log_open("/nonexistent/log", LOG_FORMAT_JSON, LOG_INFO, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "'/nonexistent/log'"));
	assert_int_equal(log_fd(), STDERR_FILENO);
	assert_int_equal(log_get_format(), LOG_FORMAT_JSON);
	assert_int_equal(log_open(NULL, LOG_FORMAT_TEXT, LOG_WARN, NULL), 0);
}

static void a_fifo_nobody_reads_hangs_nobody(void **state)
{
	struct err err = {0};

	(void)state;
	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(log_open(path, LOG_FORMAT_TEXT, LOG_INFO, &err), -ENXIO);
}

static void appends_and_is_private_to_us(void **state)
{
	struct stat st;

	(void)state;
	start(LOG_FORMAT_TEXT, LOG_INFO);
	log_info("one");
	assert_int_equal(log_open(path, LOG_FORMAT_TEXT, LOG_INFO, NULL), 0);
	log_info("two");
	assert_true(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(log_fd(), F_GETFL) & O_NONBLOCK);
	assert_int_equal(fstat(log_fd(), &st), 0);
	assert_int_equal(st.st_mode & 07133, 0);
	assert_int_equal(lines(logged()), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_form),
		cmocka_unit_test(json_form),
		cmocka_unit_test(levels_below_are_silent),
		cmocka_unit_test(hostile_bytes_stay_in_their_line),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(guest_lines_are_rate_limited),
		cmocka_unit_test(dropped_without_descriptor),
		cmocka_unit_test(a_file_that_cannot_be_opened),
		cmocka_unit_test(a_fifo_nobody_reads_hangs_nobody),
		cmocka_unit_test(appends_and_is_private_to_us),
	};

	return cmocka_run_group_tests_name("lib/log", tests, set_up, tear_down);
}
