/* SPDX-License-Identifier: Apache-2.0 */
/* Device numbers of config.json in the guest, with a sysfs of the test's own: disks, character devices, --privileged, rules. */
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

#include "guest/device_numbers.h"
#include "lib/io.h"
#include "lib/path.h"

static char sys[] = "/tmp/caisson-sys-XXXXXX";

static void put(const char *path, const char *text)
{
	char whole[256];
	FILE *f;

	snprintf(whole, sizeof(whole), "%s/%s", sys, path);
	for (char *p = whole + strlen(sys) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(whole, 0755);
		*p = '/';
	}
	f = fopen(whole, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(sys))
		return -1;
	put("dev/char/1:3/uevent", "MAJOR=1\nMINOR=3\nDEVNAME=null\n");
	put("dev/char/10:229/uevent", "MAJOR=10\nMINOR=229\nDEVNAME=fuse\n");
	put("dev/char/10:63/uevent", "MAJOR=10\nMINOR=63\nDEVNAME=vsock\n");
	put("block/vda/serial", "8:16");
	put("block/vda/dev", "254:0\n");
	put("block/vdb/serial", "254:7\n");
	put("block/vdb/dev", "254:16\n");
	put("block/vdc/serial", "of somebody else's");
	put("block/vdc/dev", "254:32\n");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return path_remove_tree(AT_FDCWD, sys, NULL);
}

#define HEAD                                                                              \
	"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/\"," \
	"\"args\":[\"a\"],\"user\":{\"uid\":0,\"gid\":0}},\"linux\":{"

static struct oci_config *parse(const char *devices, const char *rules)
{
	struct oci_config *config = NULL;
	struct err err = {0};
	char text[4096];
	int n = snprintf(text, sizeof(text),
			 HEAD "\"devices\":[%s],\"resources\":{\"devices\":[%s]}}}", devices,
			 rules);

	if (oci_config_parse(text, (size_t)n, &config, &err) < 0)
		fail_msg("%s", err.msg);
	return config;
}

#define DEV(path, type, major, minor) \
	"{\"path\":\"" path "\",\"type\":\"" type "\",\"major\":" #major ",\"minor\":" #minor "}"
#define ALLOW(type, major, minor, access)                                              \
	"{\"allow\":true,\"type\":\"" type "\",\"major\":" #major ",\"minor\":" #minor \
	",\"access\":\"" access "\"}"
#define ALL "{\"allow\":true,\"access\":\"rwm\"}"
#define NONE "{\"allow\":false,\"access\":\"rwm\"}"

static void test_devices(void **state)
{
	struct oci_config *config = parse(
		DEV("/dev/xvda", "b", 8, 16) "," DEV("/dev/fuse", "c", 10, 229) "," DEV(
			"/dev/dm-7", "b", 254,
			7) "," DEV("/dev/vsock", "c", 10,
				   63) "," DEV("/dev/p", "p", 0, 0) "," DEV("/dev/pts/1", "c", 136,
									    1),
		NONE "," ALLOW("b", 8, 16, "rw"));
	struct err err = {0};

	(void)state;
	if (device_numbers_resolve(config, sys, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(config->linux_.ndevices, 6);
	assert_int_equal(config->linux_.devices[0].major, 254);
	assert_int_equal(config->linux_.devices[0].minor, 0);
	assert_int_equal(config->linux_.devices[1].major, 10);
	assert_int_equal(config->linux_.devices[2].major, 254);
	assert_int_equal(config->linux_.devices[2].minor, 16);
	oci_config_free(config);
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		DEV("/dev/ttyUSB0", "c", 188, 0),
		/* given to something else here */
		DEV("/dev/uhid", "c", 10, 63),
		/* the guest's number, not the host's */
		DEV("/dev/x", "b", 254, 0),
		DEV("/dev/sdz", "b", 65, 144),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct oci_config *config = parse(cases[i], NONE);
		struct err err = {0};

		assert_int_equal(device_numbers_resolve(config, sys, &err), -ENOTSUP);
		assert_non_null(strstr(err.msg, config->linux_.devices[0].path));
		oci_config_free(config);
		/* Where all are allowed it is left out */
		config = parse(cases[i], NONE "," ALL);
		assert_int_equal(device_numbers_resolve(config, sys, &err), 0);
		assert_int_equal(config->linux_.ndevices, 0);
		oci_config_free(config);
	}
}

static void test_left_out(void **state)
{
	struct oci_config *config = parse(
		DEV("/dev/a", "c", 188, 0) "," DEV("/dev/null", "c", 1, 3) "," DEV(
			"/dev/b", "c", 188, 1) "," DEV("/dev/fuse", "c", 10, 229),
		ALL);
	struct err err = {0};

	(void)state;
	assert_int_equal(device_numbers_resolve(config, sys, &err), 0);
	assert_int_equal(config->linux_.ndevices, 2);
	assert_string_equal(config->linux_.devices[0].path, "/dev/null");
	assert_string_equal(config->linux_.devices[1].path, "/dev/fuse");
	oci_config_free(config);
}

static void test_rules(void **state)
{
	static const struct {
		char type;
		int64_t major, minor;
	} wanted[] = {
		{'a', -1, -1}, {'b', 254, 0}, {'b', 254, 16}, {'b', 254, 0},
		{'b', 7, -1},  {'c', 8, 16},  {'b', -1, -1},
	};
	struct oci_config *config = parse(
		"", NONE "," ALLOW("b", 8, 16, "rw") "," ALLOW("b", 254, 7, "r") "," ALLOW(
			    "b", 8, -1, "r") "," ALLOW("b", 7, -1, "r") ","
		/* of the host's, and here a disk's */
		ALLOW("b", 254, 0, "rw") "," ALLOW("c", 8, 16, "r") "," ALLOW("b", -1, -1, "m"));
	const struct oci_resources *resources = &config->linux_.resources;
	struct err err = {0};

	(void)state;
	assert_int_equal(device_numbers_resolve(config, sys, &err), 0);
	assert_int_equal(resources->ndevices, sizeof(wanted) / sizeof(wanted[0]));
	for (size_t i = 0; i < resources->ndevices; i++) {
		assert_int_equal(resources->devices[i].type, wanted[i].type);
		assert_int_equal(resources->devices[i].major, wanted[i].major);
		assert_int_equal(resources->devices[i].minor, wanted[i].minor);
	}
	assert_int_equal(resources->devices[2].access, OCI_ACCESS_READ);
	oci_config_free(config);
}

static void test_access(void **state)
{
	struct oci_config *config = parse(
		"", NONE "," ALLOW("b", 8, -1, "rw") ","
						     "{\"allow\":false,\"type\":\"b\",\"major\":8,"
						     "\"minor\":16,\"access\":\"w\"}");
	const struct oci_resources *resources = &config->linux_.resources;

	(void)state;
	assert_int_equal(oci_device_access(resources, 'b', 8, 16), OCI_ACCESS_READ);
	assert_int_equal(oci_device_access(resources, 'b', 8, 0),
			 OCI_ACCESS_READ | OCI_ACCESS_WRITE);
	assert_int_equal(oci_device_access(resources, 'b', 9, 0), 0);
	assert_int_equal(oci_device_access(resources, 'c', 8, 0), 0);
	assert_false(oci_devices_are_all_allowed(resources));
	oci_config_free(config);
	config = parse("", NONE "," ALL);
	assert_true(oci_devices_are_all_allowed(&config->linux_.resources));
	oci_config_free(config);
	config = parse("", ALL "," NONE);
	assert_false(oci_devices_are_all_allowed(&config->linux_.resources));
	assert_int_equal(oci_device_access(&config->linux_.resources, 'b', 1, 1), 0);
	oci_config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),	 cmocka_unit_test(test_refused),
		cmocka_unit_test(test_left_out), cmocka_unit_test(test_rules),
		cmocka_unit_test(test_access),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
