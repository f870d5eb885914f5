/* SPDX-License-Identifier: Apache-2.0 */
/* How the command line is read. */
#include "runtime/cli.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "runtime/signals.h"

struct given {
	bool flag;
	const char *name, *rootless;
	struct cli_list list;
	long number;
	int toggle;
};

static const struct cli_option options[] = {
	{"flag", 'f', CLI_BOOL, offsetof(struct given, flag), ""},
	{"name", 'n', CLI_STRING, offsetof(struct given, name), ""},
	{"list", 'l', CLI_LIST, offsetof(struct given, list), ""},
	{"number", 0, CLI_NUMBER, offsetof(struct given, number), ""},
	{"rootless", 0, CLI_TRISTATE, offsetof(struct given, rootless), ""},
	{"toggle", 0, CLI_SWITCH, offsetof(struct given, toggle), ""},
	{0},
};

static struct given given;
static struct cli_args rest;
static struct err err;

#define PARSE(keep, ...) parse(keep, (const char *[]){__VA_ARGS__, NULL})

static int parse(size_t keep, const char **argv)
{
	given = (struct given){0};
	err = (struct err){0};
	return cli_parse(options, argv, keep, &given, &rest, &err);
}

static void done(void)
{
	cli_release(options, &given);
	cli_args_release(&rest);
}

static void test_forms(void **state)
{
	(void)state;
	assert_int_equal(PARSE(SIZE_MAX, "--flag", "--name", "a", "-l", "1", "--list=2", "-list",
			       "3", "--number=-5", "x"),
			 0);
	assert_true(given.flag);
	assert_string_equal(given.name, "a");
	assert_int_equal(given.list.n, 3);
	assert_string_equal(given.list.items[2], "3");
	assert_int_equal(given.number, -5);
	assert_int_equal(rest.n, 1);
	assert_string_equal(rest.items[0], "x");
	assert_null(rest.items[1]);
	done();
	assert_int_equal(PARSE(SIZE_MAX, "-f=false", "-name=", "x"), 0);
	assert_false(given.flag);
	assert_string_equal(given.name, "");
	done();
}

static void test_order(void **state)
{
	(void)state;
	/* options after arguments, as `delete ID --force` */
	assert_int_equal(PARSE(SIZE_MAX, "x", "--flag", "y"), 0);
	assert_true(given.flag);
	assert_int_equal(rest.n, 2);
	done();
	/* but not in another command's line, as `exec ID ls -l` */
	assert_int_equal(PARSE(1, "-f", "x", "ls", "-l", "--flag=maybe"), 0);
	assert_true(given.flag);
	assert_int_equal(rest.n, 4);
	assert_string_equal(rest.items[2], "-l");
	done();
	assert_int_equal(PARSE(SIZE_MAX, "--", "--flag", "-"), 0);
	assert_false(given.flag);
	assert_int_equal(rest.n, 2);
	done();
	assert_int_equal(PARSE(SIZE_MAX, "-", "--name", "--flag"), 0);
	assert_string_equal(given.name, "--flag");
	done();
}

static void test_tristate(void **state)
{
	(void)state;
	assert_int_equal(PARSE(1, "--rootless", "list"), 0);
	assert_string_equal(given.rootless, "true");
	assert_int_equal(rest.n, 1);
	done();
	assert_int_equal(PARSE(1, "--rootless", "auto", "list"), 0);
	assert_string_equal(given.rootless, "auto");
	done();
	assert_int_equal(PARSE(1, "--rootless=false", "list"), 0);
	assert_string_equal(given.rootless, "false");
	done();
	/* a switch knows whether it was given; what follows is not its value */
	assert_int_equal(PARSE(SIZE_MAX, "x"), 0);
	assert_int_equal(given.toggle, 0);
	done();
	assert_int_equal(PARSE(SIZE_MAX, "--toggle", "true"), 0);
	assert_int_equal(given.toggle, 1);
	assert_int_equal(rest.n, 1);
	done();
	assert_int_equal(PARSE(SIZE_MAX, "--toggle=false"), 0);
	assert_int_equal(given.toggle, -1);
	done();
}

static void refused(int r, const char *message)
{
	assert_int_equal(r, -CLI_USAGE);
	assert_string_equal(err.msg, message);
	done();
}

static void test_refused(void **state)
{
	(void)state;
	refused(PARSE(SIZE_MAX, "--nosuch"), "flag provided but not defined: -nosuch");
	refused(PARSE(SIZE_MAX, "x", "-fq"), "flag provided but not defined: -fq");
	refused(PARSE(SIZE_MAX, "--nam=x"), "flag provided but not defined: -nam=x");
	refused(PARSE(SIZE_MAX, "--name"), "flag needs an argument: -name");
	refused(PARSE(SIZE_MAX, "--number", "a"),
		"invalid value \"a\" for flag -number: parse error");
	refused(PARSE(SIZE_MAX, "--number="), "invalid value \"\" for flag -number: parse error");
	refused(PARSE(SIZE_MAX, "--number=99999999999999999999"),
		"invalid value \"99999999999999999999\" for flag -number: parse error");
	refused(PARSE(SIZE_MAX, "--flag=maybe"),
		"invalid boolean value \"maybe\" for flag -flag: parse error");
}

static void test_help(void **state)
{
	(void)state;
	assert_int_equal(PARSE(SIZE_MAX, "x", "--help"), 1);
	done();
	assert_int_equal(PARSE(SIZE_MAX, "-h"), 1);
	done();
	assert_int_equal(PARSE(1, "x", "--help"), 0);
	done();
}

static void test_signals(void **state)
{
	(void)state;
	assert_int_equal(signal_parse("TERM"), 15);
	assert_int_equal(signal_parse("SIGTERM"), 15);
	assert_int_equal(signal_parse("sigKill"), 9);
	assert_int_equal(signal_parse("0"), 0);
	assert_int_equal(signal_parse("64"), 64);
	assert_int_equal(signal_parse("RTMIN"), 34);
	assert_int_equal(signal_parse("RTMIN+3"), 37);
	assert_int_equal(signal_parse("SIGRTMAX-1"), 63);
	assert_int_equal(signal_parse("IOT"), 6);
	assert_int_equal(signal_parse("65"), -1);
	assert_int_equal(signal_parse("-1"), -1);
	assert_int_equal(signal_parse("15x"), -1);
	assert_int_equal(signal_parse(""), -1);
	assert_int_equal(signal_parse("SIG"), -1);
	assert_int_equal(signal_parse("NOPE"), -1);
	assert_int_equal(signal_parse("RTMIN+31"), -1);
	assert_int_equal(signal_parse("RTMIN-1"), -1);
	assert_int_equal(signal_parse("RTMIN+-1"), -1);
}

static void test_commands(void **state)
{
	(void)state;
	assert_non_null(cli_find("create"));
	/* engines probe them by the exit code of their help */
	assert_non_null(cli_find("checkpoint")->unsupported);
	assert_non_null(cli_find("restore")->unsupported);
	assert_null(cli_find("pause")->unsupported);
	assert_null(cli_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),	 cmocka_unit_test(test_order),
		cmocka_unit_test(test_tristate), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_help),	 cmocka_unit_test(test_signals),
		cmocka_unit_test(test_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
