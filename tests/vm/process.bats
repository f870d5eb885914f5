#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# process: who it is, what it may, where it is, how it runs. A guest costs seconds, so one answers many questions: the script in
# it prints a line per question, `has` looks for each.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

# has LINE...: each is a whole line of $output
has() {
	local line failed=0
	for line; do
		grep -qxF -- "$line" <<< "$output" || { echo "missing: '$line'"; failed=1; }
	done
	((failed == 0)) || { echo "--- output:"; echo "$output"; return 1; }
}

# What a process says of itself
SHOW='echo "ids $(id -u):$(id -g) $(id -G)"; echo "umask $(umask)"; echo "cwd $(pwd)"; echo "home $HOME"; echo "env $A"
	busybox env | busybox grep -c ^A= | busybox sed "s/^/copies /"
	busybox grep -E "^(Cap...:|NoNewPrivs|Cpus_allowed_list)" /proc/self/status | tr "\t" " "
	busybox awk "{ print \"nice \" \$19 \" rt \" \$40 \" policy \" \$41 }" /proc/self/stat
	echo "io $(busybox ionice)"; echo "machine $(uname -m)"; echo "oom $(cat /proc/self/oom_score_adj)"
	busybox grep -E "Max (open files|core file|msgqueue|locked memory)" /proc/self/limits | tr -s " "'

@test "process: everything that config.json says of it; an exec inherits it, and may say otherwise" {
	bundle '.process.user = {uid: 1000, gid: 1001, umask: 63, additionalGids: [5, 7]} |
		.process.cwd = "/made/by/runtime" | .process.env += ["A=1", "A=2"] | .process.noNewPrivileges = true |
		.process.oomScoreAdj = -321 |
		.process.capabilities = {bounding: ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"], effective: ["CAP_CHOWN"],
			permitted: ["CAP_CHOWN", "CAP_KILL"], inheritable: ["CAP_CHOWN"], ambient: ["CAP_CHOWN"]} |
		.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 100, hard: 200}, {type: "RLIMIT_CORE", soft: 0, hard: 4096},
			{type: "RLIMIT_MSGQUEUE", soft: 1, hard: 99999999}, {type: "RLIMIT_MEMLOCK", soft: 1099511627776, hard: 1099511627776}] |
		.process.scheduler = {policy: "SCHED_BATCH", nice: -5} | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6} |
		.process.execCPUAffinity = {initial: "0", final: "1"} | .linux.personality = {domain: "LINUX32"} |
		.process.apparmorProfile = "docker-default" | .process.selinuxLabel = "system_u:system_r:container_t:s0:c1,c2" |
		.linux.mountLabel = "system_u:object_r:container_file_t:s0:c1,c2" | .vm.hwConfig.vcpus = 2'
	chmod 1777 "$BUNDLE/rootfs/tmp"
	echo 'user:x:1000:1000::/home/user:/bin/sh' >> "$BUNDLE/rootfs/etc/passwd"
	printf '%s\n' "$SHOW" > "$BUNDLE/rootfs/bin/show"
	sh_args '. /bin/show > /tmp/shown 2>&1; echo file > /tmp/mine; mv /tmp/shown /tmp/done; exec sleep 100000'
	detach c1
	within 120 test -e "$BUNDLE/rootfs/tmp/done"
	output=$(< "$BUNDLE/rootfs/tmp/done")
	has 'ids 1000:1001 1001 5 7' 'umask 0077' 'cwd /made/by/runtime' 'home /home/user' 'env 2' 'copies 1' \
		'CapInh: 0000000000000001' 'CapPrm: 0000000000000001' 'CapEff: 0000000000000001' 'CapBnd: 0000000002000021' \
		'CapAmb: 0000000000000001' 'NoNewPrivs: 1' 'nice -5 rt 0 policy 3' 'io best-effort: prio 6' 'machine i686' 'oom -321' \
		'Cpus_allowed_list: 0-1' 'Max open files 100 200 files ' 'Max core file size 0 4096 bytes ' \
		'Max msgqueue size 1 99999999 bytes ' 'Max locked memory 1099511627776 1099511627776 bytes '
	# on the host
	[[ $(stat -c %u:%g:%a "$BUNDLE/rootfs/tmp/mine") == 1000:1001:600 ]]
	[[ $(stat -c %u:%g:%a "$BUNDLE/rootfs/made/by") == 0:0:755 ]]

	# from the container, unless the document says otherwise
	jq -n '{args: ["sh", "/bin/show"], cwd: "/", env: ["PATH=/bin"], user: {uid: 0, gid: 0}}' > "$WORK/p.json"
	run -0 runtime exec --process "$WORK/p.json" c1
	has 'ids 0:0 0' 'umask 0077' 'cwd /' 'home /root' 'copies 0' 'CapBnd: 0000000002000021' 'NoNewPrivs: 0' \
		'nice -5 rt 0 policy 3' 'io best-effort: prio 6' 'machine i686' 'Cpus_allowed_list: 1' 'Max open files 100 200 files '
	jq '. + {user: {uid: 3, gid: 4, umask: 18}, scheduler: {policy: "SCHED_FIFO", priority: 9}, noNewPrivileges: true,
		ioPriority: {class: "IOPRIO_CLASS_IDLE", priority: 0}, execCPUAffinity: {final: "0-1"}, oomScoreAdj: 17,
		rlimits: [{type: "RLIMIT_NOFILE", soft: 64, hard: 600000}],
		capabilities: {bounding: ["CAP_KILL"]}}' "$WORK/p.json" > "$WORK/q.json"
	run -0 runtime exec --process "$WORK/q.json" c1
	has 'ids 3:4 4' 'umask 0022' 'home /' 'nice 0 rt 9 policy 1' 'io idle' 'Cpus_allowed_list: 0-1' 'oom 17' 'NoNewPrivs: 1' \
		'Max open files 64 600000 files ' 'CapBnd: 0000000000000020' 'CapEff: 0000000000000000'
	jq '. + {scheduler: {policy: "SCHED_DEADLINE", runtime: 10000000, deadline: 20000000, period: 30000000, flags: ["SCHED_FLAG_RESET_ON_FORK"]},
		args: ["busybox", "awk", "{ print \"policy \" $41 }", "/proc/self/stat"], execCPUAffinity: {final: "0-1"}}' "$WORK/p.json" > "$WORK/q.json"
	run -0 runtime exec --process "$WORK/q.json" c1
	has 'policy 6'

	# what cannot be is said, with the field
	local field
	for field in '.scheduler = {policy: "SCHED_RR", priority: 100}' '.scheduler = {policy: "SCHED_ISO"}' \
		'.execCPUAffinity = {final: "7,9-11"}' '.apparmorProfile = "mine"' '.selinuxLabel = "a:b:mine_t:s0"' \
		'.scheduler = {policy: "SCHED_OTHER", priority: 1}' '.ioPriority = {class: "X", priority: 1}' '.execCPUAffinity = {final: "x"}'; do
		jq "$field" "$WORK/p.json" > "$WORK/q.json"
		run -255 runtime exec --process "$WORK/q.json" c1
		[[ $output == *"${field:1:5}"* ]] || { echo "$field: $output"; return 1; }
	done
}

@test "process: a terminal of the size asked for, which belongs to the user" {
	bundle '.process.terminal = true | .process.consoleSize = {height: 33, width: 77} | .process.user = {uid: 1000, gid: 0}'
	sh_args 'stty size; stat -c "%u %a" /dev/console; tty; read -r x; echo "got $x"'
	run -0 python3 "$TESTS/vm/console.py" "$WORK/console.sock" "$CAISSON" --root "$ROOT" run --detach --bundle "$BUNDLE" --console-socket "$WORK/console.sock" c1
	[[ $output == *'33 77'*'1000 620'*'/dev/pts/0'*'got hello'* ]]
}

@test "process: what is malformed is refused before a guest is started" {
	local filter field
	bundle
	cp "$BUNDLE/config.json" "$WORK/good.json"
	args true
	while read -r filter; do
		cp "$WORK/good.json" "$BUNDLE/config.json"
		edit "$filter"
		run -1 timeout 5 "$CAISSON" --root "$ROOT" run c1
		[[ $output == *"config.json: "* ]] || { echo "$filter: $output"; return 1; }
		field=${filter#.}
		[[ $output == *"${field%% *}"* ]] || { echo "$filter: $output"; return 1; }
	done <<- 'END'
		.process.scheduler = {policy: "SCHED_X"}
		.process.scheduler = {policy: "SCHED_OTHER", nice: 40}
		.process.scheduler = {policy: "SCHED_FIFO", runtime: 4}
		.process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 8}
		.process.execCPUAffinity = {initial: "1-"}
		.process.rlimits = [{type: "RLIMIT_NONE", soft: 1, hard: 1}]
		.process.rlimits = [{type: "RLIMIT_CPU", soft: 1, hard: 1}, {type: "RLIMIT_CPU", soft: 1, hard: 1}]
		.process.oomScoreAdj = 1001
		.process.cwd = "relative"
		.linux.personality = {domain: "BSD"}
	END
}
