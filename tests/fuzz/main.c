/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a corpus through a fuzz target, as TAP: what `make check` runs, and what finds an old bug again.
 *
 * Usage: TARGET [FILE|DIRECTORY…]     default: tests/fuzz/corpus/TARGET
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char **inputs;
static size_t ninputs;

static void add(const char *path)
{
	inputs = realloc(inputs, (ninputs + 1) * sizeof(*inputs));
	if (!inputs)
		abort();
	inputs[ninputs++] = strdup(path);
}

static void add_directory(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);
	char full[4096];

	for (int i = 0; i < n; i++) {
		(void)snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			add(full);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* The buffer has the input's exact size, so that a sanitizer sees a read behind it */
static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	struct stat st;
	size_t n = 0;

	if (!f || fstat(fileno(f), &st) < 0 || st.st_size > INPUT_MAX) {
		if (f)
			(void)fclose(f);
		return -1;
	}
	data = malloc((size_t)st.st_size);
	if (data)
		n = fread(data, 1, (size_t)st.st_size, f);
	(void)fclose(f);
	if (n == (size_t)st.st_size)
		(void)LLVMFuzzerTestOneInput(data, n);
	free(data);
	return n == (size_t)st.st_size ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	char corpus[4096];
	struct stat st;
	int failed = 0;

	(void)snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s", name);
	if (argc < 2)
		add_directory(corpus);
	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			add_directory(argv[i]);
		else
			add(argv[i]);
	}
	if (ninputs == 0)
		(void)printf("1..1\nnot ok 1 - no inputs in %s\n", corpus);
	else
		(void)printf("1..%zu\n", ninputs);
	for (size_t i = 0; i < ninputs; i++) {
		int r;

		(void)fflush(stdout);
		(void)alarm(60); /* a hang is a failure */
		r = replay(inputs[i]);
		failed |= r;
		(void)printf("%sok %zu - %s\n", r < 0 ? "not " : "", i + 1, inputs[i]);
		free(inputs[i]);
	}
	free(inputs);
	return failed || ninputs == 0 ? 1 : 0;
}
