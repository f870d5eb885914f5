/* SPDX-License-Identifier: Apache-2.0 */
/* Print what kvm_probe() finds: name, status, text, fix. Exit status: 1 if anything failed. */
#include <stdio.h>

#include "kvm/probe.h"

int main(int argc, char **argv)
{
	static const char *const words[] = {"ok", "warning", "FAILED"};
	struct kvm_probe_result results[KVM_PROBE_RESULTS_MAX];
	size_t n = kvm_probe(argc > 1 ? argv[1] : "/dev/kvm", results, KVM_PROBE_RESULTS_MAX);
	int failed = n == 0;

	for (size_t i = 0; i < n; i++) {
		printf("%-17s %-8s %s\n", results[i].name, words[results[i].status],
		       results[i].text);
		if (results[i].fix[0])
			printf("%-17s %-8s   → %s\n", "", "", results[i].fix);
		failed |= results[i].status == KVM_PROBE_FAIL;
	}
	return failed;
}
