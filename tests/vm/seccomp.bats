#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# linux.seccomp: compiled on the host, in force in the guest.

load helpers

setup() {
	common_setup
	bundle
	cp "$TOOLS/syscall" "$BUNDLE/rootfs/bin"
}
teardown() { common_teardown; }

# profile JQ-OBJECT
profile() { edit ".linux.seccomp = $1"; }

ARCHS='["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]'

# fails SENTENCE: no guest is started, nothing is left
fails() {
	run -1 --separate-stderr runtime run c1 < /dev/null
	echo "stderr: $stderr"
	[[ -z $output && $stderr == *"$1"* ]]
	[[ -z $(runtime list -q) ]]
}

@test "seccomp: nothing is filtered without a profile" {
	edit 'del(.linux.seccomp)'
	sh_args 'grep Seccomp: /proc/self/status; mkdir /tmp/x && syscall 39 9999 -1'
	run -0 runtime run c1
	[[ $output == $'Seccomp:\t0\nok ENOSYS ENOSYS' ]]
}

@test "seccomp: a denied call gives its errno, others work, and each process is filtered" {
	# mkdir by name and under a condition, mount by an errno of its own, getppid by the 32-bit ABI too
	profile '{defaultAction: "SCMP_ACT_ALLOW", architectures: '"$ARCHS"', syscalls: [
		{names: ["mkdir", "mkdirat", "getppid"], action: "SCMP_ACT_ERRNO"},
		{names: ["mount"], action: "SCMP_ACT_ERRNO", errnoRet: 100},
		{names: ["close"], action: "SCMP_ACT_ERRNO", errnoRet: 18, args: [{index: 0, value: 4294967301, op: "SCMP_CMP_GE"}]}]}'
	sh_args 'grep Seccomp: /proc/self/status; mkdir /tmp/x; mount -t tmpfs t /tmp; sh -c "grep Seccomp: /proc/self/status"
		syscall 110 39 3,99 3,4294967301; syscall -3 64 20; id -u'
	run -0 runtime run c1
	echo "$output"
	[[ ${lines[0]} == $'Seccomp:\t2' ]]
	[[ ${lines[1]} == *mkdir*'Operation not permitted' ]]
	[[ ${lines[2]} == *mount*'Network is down' ]]
	[[ ${lines[3]} == $'Seccomp:\t2' ]]
	[[ ${lines[4]} == 'EPERM ok EBADF EXDEV' ]]
	[[ ${lines[5]} == 'EPERM ok' ]]
	[[ ${lines[6]} == 0 ]]
}

@test "seccomp: a killed process gives 159; what is traced by nobody is unknown, what is logged happens" {
	profile '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL_PROCESS"},
		{names: ["getsid"], action: "SCMP_ACT_KILL"}, {names: ["getpgid"], action: "SCMP_ACT_TRAP"},
		{names: ["getpriority"], action: "SCMP_ACT_TRACE"}, {names: ["sched_yield"], action: "SCMP_ACT_LOG"}]}'
	args mkdir /tmp/x
	run -159 runtime run c1
	[[ ! -d $BUNDLE/rootfs/tmp/x ]]
	sh_args '(mkdir /tmp/x); echo $?; syscall 124; echo $?; syscall 121; echo $?; syscall 140 24'
	run -0 runtime run c1
	echo "$output"
	[[ $(grep -c '^159$' <<< "$output") == 3 && $output == *'ENOSYS ok' ]]
}

@test "seccomp: what is newer than the profile is unknown, what is older is denied" {
	profile '{defaultAction: "SCMP_ACT_ERRNO", architectures: '"$ARCHS"', syscalls: [
		{names: ["execve", "exit_group", "write", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
			"getrandom", "mprotect", "fstat", "newfstatat", "readlink", "readlinkat", "mmap", "munmap", "capset", "uname", "ioctl",
			"faccessat2"], action: "SCMP_ACT_ALLOW"}]}'
	# mount, openat2, close_range, process_madvise, beyond every kernel, none
	args syscall 165 437 436 440 100000 -1
	run -0 runtime run c1
	[[ $output == 'EPERM EPERM ENOSYS ENOSYS ENOSYS ENOSYS' ]]
	args syscall -3 21 437 436 440 100000 -1
	run -0 runtime run c1
	[[ $output == 'EPERM EPERM ENOSYS ENOSYS ENOSYS ENOSYS' ]]
}

@test "seccomp: exec'd processes are filtered, for every user, with the capabilities they ask for" {
	profile '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO"}]}'
	sh_args 'trap "exit 0" TERM; sleep 100000 & wait'
	detach c1
	run -1 runtime exec c1 mkdir /tmp/x
	[[ $output == *'Operation not permitted'* ]]
	look='grep -E "^(CapEff|CapPrm|NoNewPrivs|Seccomp):" /proc/self/status | tr "\t\n" "  "'
	caps=$(jq -r '.process.capabilities.effective | sort | join(" ")' "$BUNDLE/config.json")
	[[ $caps != *CAP_SYS_ADMIN* ]]
	run -0 runtime exec c1 sh -c "$look"
	[[ $output =~ 'CapPrm: 00000000'([0-9a-f]{8})' CapEff: 00000000'([0-9a-f]{8})' NoNewPrivs: 0 Seccomp: 2' ]]
	# bit 21 is CAP_SYS_ADMIN
	(( (0x${BASH_REMATCH[1]} & 0x200000) == 0 && (0x${BASH_REMATCH[2]} & 0x200000) == 0 ))
	run -0 runtime exec --user 1000:1000 c1 sh -c "id -u; $look"
	[[ ${lines[0]} == 1000 && ${lines[1]} == *'NoNewPrivs: 0 Seccomp: 2'* ]]
	run -0 runtime exec --no-new-privs c1 sh -c "$look"
	[[ $output == *'NoNewPrivs: 1 Seccomp: 2'* ]]
}

@test "seccomp: only execve and capset have to be allowed on the way to the program" {
	profile '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["setresuid", "setresgid", "setgroups", "prctl", "chdir", "keyctl",
		"recvfrom", "sendmsg", "sendto", "umask", "setsid", "seccomp", "close_range"], action: "SCMP_ACT_KILL_PROCESS"}]}'
	edit '.process.user = {uid: 1000, gid: 1000, additionalGids: [7]}'
	args syscall 39
	run -0 runtime run c1
	[[ $output == ok ]]
	profile '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["execve"], action: "SCMP_ACT_ERRNO"}]}'
	fails 'operation not permitted'
}

@test "seccomp: noNewPrivileges: the filter comes after it, and capset is not needed" {
	profile '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["capset", "mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO"}]}'
	edit '.process.noNewPrivileges = true'
	sh_args 'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status; mkdir /tmp/x 2> /dev/null; echo $?'
	run -0 runtime run c1
	[[ $output == $'NoNewPrivs:\t1\nSeccomp:\t2\n1' ]]
}

@test "seccomp: a container works under a profile of the usual size" {
	profile "$(< "$TESTS/vm/profile.json")"
	# threads, pipes, files, time; then what the profile forbids, by default, by rule, by argument
	sh_args 'grep Seccomp: /proc/self/status; seq 1000 | sort -rn | head -n 1; find / -xdev -name busybox | wc -l; sleep 0.1
		mount -t tmpfs t /tmp 2>&1; syscall 41,40 41,1 135,8 135,5 435 250 56,0x10000000 470 1000 39'
	run -0 runtime --debug run c1
	echo "$output"
	[[ $output == *"unknown system call 'no_kernel_has_this', ignoring"* ]]
	[[ $output == *$'Seccomp:\t2\n1000\n1\nmount: '*ermi* ]]
	# socket(AF_VSOCK), socket(AF_UNIX), personality(8, 5), clone3, keyctl, clone(NEWUSER), newer ones, getpid
	[[ $output == *'EPERM ESOCKTNOSUPPORT ok EPERM ENOSYS EACCES EPERM ENOSYS ENOSYS ok'* ]]
	args syscall 246
	run -159 runtime run c1
}

@test "seccomp: a listener, an unknown word and a filter that is too long are refused before a guest starts" {
	args true
	profile '{defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/run/l.sock", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_NOTIFY"}]}'
	fails 'linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is for a listener'
	profile '{defaultAction: "SCMP_ACT_MAYBE"}'
	fails "linux.seccomp.defaultAction: 'SCMP_ACT_MAYBE' is unknown"
	profile '{defaultAction: "SCMP_ACT_ERRNO", syscalls: [range(2048) | {names: ["read"], action: "SCMP_ACT_ALLOW",
		args: [{index: 0, value: (. * 4294967297), op: "SCMP_CMP_EQ"}]}]}'
	fails 'linux.seccomp: the filter has more than 4096 instructions'
}
