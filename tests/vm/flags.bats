#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# runc's flags of create, run and exec in a real guest: what each does, or how it is refused.

load helpers

setup() {
	common_setup
	bundle
}
teardown() { common_teardown; }

@test "flags: of exec" {
	edit '(.mounts[] | select(.type == "cgroup").options) -= ["ro"]'
	sh_args 'trap "exit 0" TERM; sleep 100000 & wait'
	detach c1

	# --cap: bounding, effective, permitted
	caps() { runtime exec "$@" c1 grep ^Cap /proc/self/status | awk '{ print $2 }' | tr '\n' ' '; }
	read -r _ permitted effective bounding _ <<< "$(caps)"
	read -r _ permitted2 effective2 bounding2 _ <<< "$(caps --cap CAP_SYS_TIME -c CAP_SYS_NICE)"
	more=$((1 << 25 | 1 << 23))
	((16#$permitted2 == (16#$permitted | more) && 16#$effective2 == (16#$effective | more) && 16#$bounding2 == (16#$bounding | more)))
	run -255 runtime exec --cap CAP_NOSUCH c1 true
	[[ $output == *CAP_NOSUCH* ]]

	# --no-new-privs
	[[ $(runtime exec c1 grep NoNewPrivs /proc/self/status) == *0 ]]
	[[ $(runtime exec --no-new-privs c1 grep NoNewPrivs /proc/self/status) == *1 ]]
	[[ $(runtime exec --no-new-privs=false c1 grep NoNewPrivs /proc/self/status) == *0 ]]

	# --additional-gids, --user, --env, --cwd
	[[ $(runtime exec -g 10 --additional-gids 20 -u 5:6 c1 id -G) == '6 10 20' ]]
	run -255 runtime exec --additional-gids -1 c1 true
	[[ $output == *'additional-gids must be a positive number -1'* ]]
	[[ $(runtime exec -e A=1 --env B=2 --cwd /tmp c1 sh -c 'echo $A$B$(pwd)') == 12/tmp ]]

	# --cgroup: below the container's
	runtime exec c1 mkdir -p /sys/fs/cgroup/a/b
	[[ $(runtime exec --cgroup a/b c1 cat /proc/self/cgroup) == 0::/a/b ]]
	[[ $(runtime exec --cgroup /a c1 cat /proc/self/cgroup) == 0::/a ]]
	[[ $(runtime exec --cgroup / c1 cat /proc/self/cgroup) == 0::/ ]]
	[[ $(runtime exec c1 cat /proc/self/cgroup) == 0::/ ]]
	run -255 runtime exec --cgroup missing c1 true
	[[ $output == *"cgroup 'missing' of the container"* ]]
	run -255 runtime exec --cgroup ../.. c1 true
	[[ $output == *'is not a sub cgroup path'* ]]
	run -255 runtime exec --cgroup cpu:a c1 true
	[[ $output == *'unknown controller cpu in SubCgroupPaths'* ]]
	run -255 runtime exec --cgroup a --cgroup b c1 true
	[[ $output == *'(missing <controller>: prefix)'* ]]

	# what a guest cannot honour
	run -255 runtime exec --apparmor some-profile c1 true
	[[ $output == *'there is no AppArmor in the guest'* ]]
	runtime exec --apparmor unconfined c1 true
	run -255 runtime exec --process-label a:b:c:d c1 true
	[[ $output == *'there is no SELinux in the guest'* ]]
	run -255 runtime exec --preserve-fds 1 c1 true
	[[ $output == *'descriptors cannot be passed into a guest'* ]]
	runtime exec --preserve-fds 0 --ignore-paused c1 true

	# --pidfd-socket: the stand-in
	run -0 python3 "$TESTS/vm/pidfd.py" "$WORK/sock" "$CAISSON" --root "$ROOT" exec --detach --pid-file "$WORK/pid" \
		--pidfd-socket "$WORK/sock" c1 sleep 3000
	[[ $output == "setns $(< "$WORK/pid")" ]]
	run -3 python3 "$TESTS/vm/pidfd.py" "$WORK/sock2" "$CAISSON" --root "$ROOT" exec --pidfd-socket "$WORK/sock2" c1 sh -c 'exit 3'
	[[ $output == 'setns '[0-9]* ]]
	run -255 runtime exec --pidfd-socket "$WORK/none" c1 true
	[[ $output == *'pidfd socket'* ]]

	# kill: names and numbers
	runtime kill c1 0
	runtime kill c1 SIGCONT
	runtime kill c1 cont
	runtime kill c1 18
	run -1 runtime kill c1 NOSUCH
	[[ $output == *'unknown signal'* ]]
	run -1 runtime kill c1 65
	runtime kill c1
	within 60 status_is c1 stopped
	[[ $(runtime state c1 | jq .pid) == 0 && $(runtime list -f json | jq '.[0].pid') == 0 ]]
}

@test "flags: of create and run" {
	sh_args 'exit 9'
	# the descriptor is the monitor's
	run -0 python3 "$TESTS/vm/pidfd.py" "$WORK/sock" "$CAISSON" --root "$ROOT" create --pid-file "$WORK/pid" \
		--pidfd-socket "$WORK/sock" --no-pivot --no-new-keyring --preserve-fds 0 c1
	[[ $output == "standard $(< "$WORK/pid")" && $(< "$WORK/pid") == "$(pid_of c1)" ]]
	runtime delete c1
	# --keep: the container stays, stopped
	run -9 runtime run --keep --no-subreaper --no-pivot --no-new-keyring c1 < /dev/null
	status_is c1 stopped
	[[ $(runtime state c1 | jq .pid) == 0 ]]
	run -1 runtime run c1 < /dev/null
	[[ $output == *'already exists'* ]]
	runtime delete c1
	run -9 runtime run c1 < /dev/null
	run -1 runtime state c1
	run -1 runtime create --pidfd-socket "$WORK/none" c1 < /dev/null
	[[ $output == *'pidfd socket'* && ! -e $ROOT/c1 ]]
	run -1 env LISTEN_FDS=1 bash -c 'LISTEN_PID=$$ exec "$0" "$@"' "$CAISSON" --root "$ROOT" create c1 < /dev/null
	[[ $output == *'LISTEN_FDS=1: descriptors cannot be passed into a guest'* && ! -e $ROOT/c1 ]]
}
