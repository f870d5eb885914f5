#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson events`: the guest's figures in runc's shape, at intervals, and kills for lack of memory.

load helpers

setup() {
	common_setup
	bundle
}
teardown() { common_teardown; }

# the command is connected to the monitor
listens() { [[ $(readlink "/proc/$stream/fd/"*) == *socket:* ]]; }

@test "events: --stats has the guest's figures in runc's shape" {
	sh_args 'sleep 5000 & head -c 4000000 /dev/zero > /root/file; cat /root/file > /dev/null; echo > /root/done; while :; do :; done'
	detach c1
	within 120 test -e "$BUNDLE/rootfs/root/done"
	run -0 --separate-stderr runtime events --stats c1
	[[ -z $stderr && ${#lines[@]} == 1 ]]
	first=$output
	echo "$first"
	[[ $(jq -c 'keys_unsorted' <<< "$first") == '["type","id","data"]' ]]
	[[ $(jq -c '.data | keys_unsorted' <<< "$first") == '["cpu","cpuset","memory","pids","blkio","hugetlb","intel_rdt","network_interfaces"]' ]]
	jq -e '.type == "stats" and .id == "c1"' <<< "$first"
	jq -e '.data.cpu.usage | .total > 0 and .total >= .user + .kernel - 1000000' <<< "$first"
	jq -e '.data.memory.usage | .usage > 0 and .failcnt == 0 and .max >= .usage' <<< "$first"
	jq -e '.data.memory.raw | .anon > 0 and (.file | type) == "number" and (keys | . == sort)' <<< "$first"
	# the page cache of the file it has read
	jq -e '.data.memory.cache >= 4000000 and .data.memory.cache == .data.memory.raw.file' <<< "$first"
	# the shell and its child
	jq -e '.data.pids.current == 2' <<< "$first"
	jq -e '.data.network_interfaces == null and .data.intel_rdt == {} and .data.cpuset.sched_load_balance == 0' <<< "$first"
	[[ $(jq .data.pids.current <<< "$first") == $(($(runtime ps c1 | wc -l) - 1)) ]]
	# it is spinning, in the guest
	busier() { (($(runtime events --stats c1 | jq .data.cpu.usage.total) > $(jq .data.cpu.usage.total <<< "$first"))); }
	within 60 busier

	run -1 runtime events --interval 0 c1
	[[ $output == *'duration interval must be greater than 0'* ]]
	run -1 runtime events --interval -5s c1
	[[ $output == *'duration interval must be greater than 0'* ]]

	# at intervals, until it ends
	runtime events --interval 300ms c1 > "$WORK/stream" 2> "$WORK/error" &
	stream=$!
	several() { (($(wc -l < "$WORK/stream") >= 3)); }
	within 120 several
	kill -0 "$stream"
	runtime kill c1 KILL
	wait "$stream"
	[[ ! -s $WORK/error ]]
	jq -se 'length >= 3 and all(.[]; .type == "stats" and .id == "c1" and .data.pids.current >= 0)' "$WORK/stream"
	jq -se '.[2].data.cpu.usage.total >= .[0].data.cpu.usage.total' "$WORK/stream"
	within 60 status_is c1 stopped
	run -1 runtime events c1
	[[ $output == *'container with id c1 is not running'* ]]
	run -1 runtime events --stats c1
	[[ $output == *'container with id c1 is not running'* ]]
}

@test "events: a kill for lack of memory in the guest is told, logged, and does not end the container" {
	edit '.linux.resources.memory.limit = 67108864 | .linux.sysctl = {"vm.overcommit_memory": "1"}'
	sh_args 'trap "exit 0" TERM; while [ ! -e /root/go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=400M count=1; echo $? > /root/status; sleep 100000 & wait'
	runtime --log "$WORK/log" run --detach c1 > "$WORK/said" 2>&1 < /dev/null
	"$CAISSON" --root "$ROOT" events --interval 1h c1 > "$WORK/stream" 2> "$WORK/error" &
	stream=$!
	within 60 listens
	touch "$BUNDLE/rootfs/root/go"
	within 120 test -s "$WORK/stream"
	[[ $(head -n 1 "$WORK/stream") == '{"type":"oom","id":"c1"}' ]]
	within 60 test -s "$BUNDLE/rootfs/root/status"
	[[ $(< "$BUNDLE/rootfs/root/status") == 137 ]]
	status_is c1 running
	within 60 grep -q 'level=warning.*the guest ran out of memory and killed processes of the container' "$WORK/log"
	[[ $(runtime exec c1 echo alive) == alive ]]
	runtime kill c1 TERM
	wait "$stream"
	[[ ! -s $WORK/error ]]
}

@test "events: the kill that ends the container is told" {
	edit '.linux.resources.memory.limit = 67108864 | .linux.sysctl = {"vm.overcommit_memory": "1"}'
	sh_args 'exec dd if=/dev/zero of=/dev/null bs=400M count=1'
	runtime create c1 > "$WORK/said" 2>&1 < /dev/null
	"$CAISSON" --root "$ROOT" events --interval 1h c1 > "$WORK/stream" 2> "$WORK/error" &
	stream=$!
	within 60 listens
	runtime start c1
	wait "$stream"
	[[ $(< "$WORK/stream") == '{"type":"oom","id":"c1"}' ]]
	within 60 status_is c1 stopped
}
