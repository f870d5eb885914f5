# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced: where guests run. Sets GUESTS to "direct" (this host's /dev/kvm) or "lab" (tests/lab), and in_guest_host(), which runs
# a command there. KVM=direct|lab overrides what `caisson check` finds. LAB_CPUS, LAB_MEMORY, LAB_OPTIONS (an array): the lab's machine.
#
# The lab has ONE processor unless told otherwise. QEMU's emulated SVM keeps the vector of an injected interrupt and, when its vCPU
# thread is asked to stop for another reason than an interrupt (another vCPU's request, the turns of thread=single), delivers it
# to the guest a second time, at whatever instruction it is: a triple fault or a hang, once in some hundred guests. And code that
# one vCPU patches while another translates it may be run stale. With one vCPU neither happens.

TOP=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
VARIANT=${VARIANT:-release}
CAISSON=${CAISSON:-$TOP/build/$VARIANT/caisson}
export CAISSON VARIANT

kvm_mode() {
	case ${KVM:-} in
	direct | lab) GUESTS=$KVM ;;
	'')
		if "$CAISSON" check --json 2> /dev/null | jq -e 'all(.[] | select(.name | startswith("kvm")); .status != "fail")' > /dev/null
		then GUESTS=direct
		else GUESTS=lab
		fi ;;
	*) echo "KVM='$KVM' is neither 'direct' nor 'lab'" >&2; return 2 ;;
	esac
	LAB_CPUS=${LAB_CPUS:-1}
	LAB_OPTIONS=()
	[[ $GUESTS == lab ]] && "$TOP/tests/lab/lab" prepare
	return 0
}

# in_guest_host SECONDS COMMAND...: run it on this host or in the lab, with the variables in $PASS (names)
in_guest_host() {
	local limit=$1 options=() v
	shift
	if [[ $GUESTS == direct ]]; then
		timeout -k 10 "$limit" "$@"
		return
	fi
	for v in CAISSON VARIANT ${PASS:-}; do [[ -n ${!v+x} ]] && options+=(-e "$v"); done
	# directories that the lab hides below a tmpfs of its own are shared explicitly
	case $TOP/ in /tmp/* | /run/* | /var/lib/docker/* | /var/lib/containe*) options+=(-w "$TOP") ;; esac
	"$TOP/tests/lab/lab" -t "$limit" ${LAB_MEMORY:+-m "$LAB_MEMORY"} -s "$LAB_CPUS" "${LAB_OPTIONS[@]}" "${options[@]}" "$@"
}
