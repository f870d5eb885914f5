#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson ps`: the guest's processes as a table, and the host's processes that stand for them.

load helpers

setup() {
	common_setup
	bundle
}
teardown() { common_teardown; }

listed() { # COMMAND: the table's row with it, fields separated by one blank
	local row
	row=$(runtime ps c1 | grep -E " $1\$") || return
	tr -s ' ' <<< "$row"
}

@test "ps: table, columns, users, terminals, pids" {
	sh_args 'sleep 4000 & sleep 5000; exit 1'
	detach c1
	runtime exec --detach --user 1 --pid-file "$WORK/pid" c1 sleep 6000 > /dev/null 2>&1 < /dev/null
	within 60 listed 'sleep 4000'
	within 60 listed 'sleep 5000'
	within 60 listed 'sleep 6000'

	run -0 runtime ps c1
	[[ ${lines[0]} == 'UID          PID    PPID  C STIME TTY          TIME CMD' ]]
	[[ ${#lines[@]} == 5 ]]
	[[ ${lines[1]} =~ ^'root           1       0 '[\ 0-9]+' '[0-9]{2}:[0-9]{2}' ?        00:00:'[0-9]{2}' /bin/sh -c sleep 4000 & sleep 5000; exit 1'$ ]]
	[[ $(listed 'sleep 4000') == 'root '*' 1 '* ]]
	# the container's own names of users; a process of exec has no parent in the container
	[[ $(listed 'sleep 6000') == 'daemon '*' 0 '* ]]
	# the numbers are those that a kill in the container takes
	inner=$(listed 'sleep 4000' | cut -d ' ' -f 2)
	[[ $(runtime exec c1 cat "/proc/$inner/cmdline" | tr '\0' ' ') == 'sleep 4000 ' ]]
	table=$output
	run -0 runtime ps --format table c1 -ef
	[[ ${lines[0]} == "${table%%$'\n'*}" && ${#lines[@]} == 5 ]]
	run -0 runtime ps c1 -- -ef
	[[ ${lines[0]} == "${table%%$'\n'*}" && ${#lines[@]} == 5 ]]

	run -0 runtime ps c1 -o pid,user,cmd
	[[ ${lines[0]} == '    PID USER     CMD' ]]
	[[ $output == *$'\n      1 root     /bin/sh -c sleep 4000 & sleep 5000; exit 1\n'* ]]
	[[ $output == *' daemon   sleep 6000'* ]]
	run -0 runtime ps c1 aux
	[[ ${lines[0]} == 'USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND' ]]
	[[ ${lines[1]} =~ ^'root           1 '.*' ?        S'.*' /bin/sh -c sleep 4000 & sleep 5000; exit 1'$ ]]
	[[ $(awk 'NR == 2 { print ($5 > $6 && $6 > 0 && $6 < 100000) }' <<< "$output") == 1 ]]
	run -0 runtime ps c1 -eo pid,comm,rss,etimes
	[[ ${lines[1]} =~ ^' '+1' sh ' ]]
	# the guest's own ps sees the same processes, and itself
	guest=$(runtime exec c1 ps -o pid,args | awk 'NR > 1 && $2 != "ps" { print $1 }' | sort -n | tr '\n' ' ')
	[[ $(runtime ps c1 -o pid,comm | awk 'NR > 1 { print $1 }' | sort -n | tr '\n' ' ') == "$guest" ]]

	run -1 runtime ps c1 -o user,cmd
	[[ $output == *"couldn't find PID field in ps output"* ]]
	run -1 runtime ps c1 --forest
	[[ $output == *"ps: '--forest' is not supported"* ]]
	run -1 runtime ps --format xml c1
	[[ $output == *'invalid format option'* ]]

	# docker top: rows of the host's ps whose pid is in this list
	run -0 --separate-stderr runtime ps --format json c1
	[[ -z $stderr && $output == "[$(pid_of c1),$(< "$WORK/pid")]" ]]
	for p in $(jq '.[]' <<< "$output"); do [[ -d /proc/$p ]]; done
	kill -KILL "$(< "$WORK/pid")"
	alone() { [[ $(runtime ps -f json c1) == "[$(pid_of c1)]" ]]; }
	within 60 alone
	gone() { ! listed 'sleep 6000'; }
	within 60 gone

	runtime kill c1 KILL
	within 60 status_is c1 stopped
	run -0 runtime ps c1
	[[ $output == 'UID          PID    PPID  C STIME TTY          TIME CMD' ]]
	[[ $(runtime ps --format json c1) == null ]]
}

@test "ps: many processes, odd names and arguments, without a pid namespace" {
	edit '.linux.namespaces |= map(select(.type != "pid"))'
	printf '#!/bin/sh\nsleep 7004; exit 1\n' > "$BUNDLE/rootfs/bin/it) S (odd"
	chmod +x "$BUNDLE/rootfs/bin/it) S (odd"
	sh_args 'for i in $(seq 150); do sleep 7000 & done; sleep 7002; exit 1'
	detach c1
	all() { [[ $(runtime ps c1 | grep -c ' sleep 700[02]$') == 151 ]]; }
	within 300 all
	# numbers of the guest, where nobody but its agent is 1
	runtime ps c1 -o pid,args | awk 'NR > 1 && $1 <= 1 { exit 1 }'
	runtime exec --detach c1 sh -c 'sleep 7003; exit 1' $'new\nline\033[31mred' > /dev/null 2>&1 < /dev/null
	runtime exec --detach c1 '/bin/it) S (odd' > /dev/null 2>&1 < /dev/null
	within 60 listed 'sleep 7003'
	within 60 listed 'sleep 7004'
	listed 'sh -c sleep 7003; exit 1 new\?line\?\[31mred'
	runtime ps c1 -o pid,stat,comm=NAME | grep -E '^ +[0-9]+ S.* it\) S \(odd *$'
	[[ $(runtime ps --format json c1 | jq length) == 3 ]]
}
