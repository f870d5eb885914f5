# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# kill -9 at random moments. Sourced by the suites beside it, which run half of the operations each so that two labs share the time.
#
# A round: set the scene for one operation (create, start, exec, delete), begin it, and after a random part of the time that it
# takes kill one process at random: the command, the monitor or the vmm. Whatever the command then says, `delete --force`
# must succeed, and nothing may be left: tests/leftovers.sh counts. SEED repeats a run's choices; the moments are the machine's.
#
# A kill that comes after the process's end is no round. The time within which it comes follows what is seen: less of it after one that was
# too late, more after one that was not, so that all of the operation is covered, on a busy machine too.

load ../vm/helpers

ROUNDS=${ROUNDS:-200}	# of all four operations together
SEED=${SEED:-$EPOCHSECONDS}

setup() { common_setup; }
teardown() { common_teardown; }

# A process's first child, by /proc: a program to ask would come too late
child_of() { # PID
	local children
	[[ -n $1 ]] && read -r children _ < "/proc/$1/task/$1/children" 2> /dev/null
	echo "${children:-}"
}

# Without a program either
nap_ms() { read -rt "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" -u "$NEVER" || true; }

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# The words of OP's command line in $WORDS: the command is run without a shell between, so that its pid is its own
words_of() { # OP
	case $1 in
	create) WORDS=(create --bundle "$BUNDLE" c1) ;;
	start) WORDS=(start c1) ;;
	exec) WORDS=(exec c1 true) ;;
	delete) WORDS=(delete --force c1) ;;
	esac
}

scene() { # OP
	[[ $1 == create ]] && return
	runtime create --bundle "$BUNDLE" c1 > /dev/null 2>&1 < /dev/null
	[[ $1 == start ]] && return
	runtime start c1
}

round() { # OP DURATION-MS
	local victims=(command monitor vmm) pid monitor='' vmm='' what delay target killed=no
	scene "$1" || { echo "the scene of $1: $?"; return 1; }
	# the monitor is what state.json names, or while it is being made the command's child; the vmm is its child
	[[ $1 == create ]] || { monitor=$(pid_of c1); vmm=$(child_of "$monitor"); }
	what=${victims[RANDOM % 3]}
	delay=$((RANDOM * $2 / 32768))
	"$CAISSON" --root "$ROOT" "${WORDS[@]}" > "$WORK/said" 2>&1 < /dev/null & pid=$!
	nap_ms "$delay" # the moment is the point of the test, not something waited for
	if [[ $1 == create && $what != command ]]; then
		monitor=$(child_of "$pid")
		vmm=$(child_of "$monitor")
	fi
	case $what in
	command) target=$pid ;;
	monitor) target=$monitor ;;
	vmm) target=$vmm ;;
	esac
	[[ -z $target ]] || { kill -KILL "$target" 2> /dev/null && killed=yes; }
	wait "$pid" || true
	runtime delete --force c1 > "$WORK/deleted" 2>&1 || { echo "$1, $what after $delay ms: delete --force: $?"; cat "$WORK/said" "$WORK/deleted"; return 1; }
	"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census" || { echo "$1, $what after $delay ms"; cat "$WORK/said"; return 1; }
	[[ $killed == no ]] || kills=$((kills + 1))
	KILLED=$killed
}

rounds() { # OP
	local i start duration=100000 longest kills=0 n=$((ROUNDS / 4))
	RANDOM=$SEED
	exec {NEVER}<> <(:)
	bundle
	sh_args 'sleep 100000'
	words_of "$1"
	for i in 1 2 3; do
		scene "$1"
		start=$(now_ms)
		"$CAISSON" --root "$ROOT" "${WORDS[@]}" > /dev/null 2>&1 < /dev/null
		((duration <= $(now_ms) - start)) || duration=$(($(now_ms) - start))
		runtime delete --force c1
	done
	longest=$duration
	for ((i = 1; i <= 5 * n && kills < n; i++)); do
		round "$1" "$duration" || { echo "round $i, SEED=$SEED"; return 1; }
		if [[ $KILLED == yes ]]; then duration=$((duration * 9 / 8 + 1)); else duration=$((duration * 3 / 4)); fi
		((duration <= longest)) || duration=$longest
	done
	echo "# $1: $kills kills in $((i - 1)) attempts, within $longest ms; SEED=$SEED" >&3
	((kills == n))
}
