#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh - build the guest kernel from Debian's source package with the configuration beside this file
#
# A kernel takes minutes to build, so the result is kept under a hash of all that goes into it: the source package's version, the
# configuration, this script, the compiler and the linker. Only the parts of the source that our configuration compiles are
# unpacked, and they are removed when the kernel is done. Two builds of one kernel at a time do not collide: the second waits.
#
# Usage: build.sh OUT            put vmlinux (uncompressed ELF with the PVH note, stripped) at OUT
#        build.sh --hash         print the cache key and leave
#
# Environment: KERNEL           a ready vmlinux or bzImage to use instead of building one
#              KERNEL_SOURCE    source tarball (the one of Debian's package linux-source-6.12)
#              KERNEL_BZIMAGE   also put a bzImage there
#              CAISSON_CACHE    where results are kept (${XDG_CACHE_HOME:-~/.cache}/caisson)
# Needs:       linux-source-6.12 gcc make bc bison flex libelf-dev xz-utils (and what every Debian has)
# Exit status: 0 done; 1 not, and the last lines of the log have been shown.

set -eu -o pipefail
shopt -s inherit_errexit
exec < /dev/null

HERE=$(dirname "$(realpath "$0")")
CONFIG=$HERE/config
PACKAGE=linux-source-6.12
SOURCE=${KERNEL_SOURCE:-/usr/src/$PACKAGE.tar.xz}
CACHE=${CAISSON_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/caisson}
# Lines that a whole build prints, for the progress display only.
STEPS=2032
MAKE_PID='' WORK=''

# What the build reads, besides every Kconfig and Makefile.
PARTS=(arch/x86 block certs crypto fs include init io_uring ipc kernel lib mm net scripts security usr virt
	tools/{arch/x86,build,include,lib,objtool,scripts}
	drivers/{base,block,char,clocksource,dax,rtc,tty,virtio} 'drivers/net/*.[ch]' drivers/net/{ipvlan,vxlan})

say() { printf 'kernel: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

on_exit() {
	local rc=$?
	trap - EXIT
	if [[ -n $MAKE_PID ]]; then
		kill "$MAKE_PID" 2> /dev/null || :
		wait "$MAKE_PID" 2> /dev/null || :
	fi
	[[ -z $WORK ]] || rm -rf "$WORK" "${WORK%.work}.tmp"
	exit "$rc"
}

# Replaces OUT in one step and leaves it newer than everything it was made from.
put() { # FILE OUT
	local tmp=$2.$$
	mkdir -p "$(dirname "$2")"
	cp --reflink=auto "$1" "$tmp"
	mv -f "$tmp" "$2"
}

need_tools() {
	local tool missing=()
	for tool in gcc make ld bc bison flex xz tar perl awk; do
		command -v "$tool" > /dev/null || missing+=("$tool")
	done
	[[ -e $SOURCE ]] || missing+=("$SOURCE")
	echo '#include <gelf.h>' | gcc -E -o /dev/null -x c - 2> /dev/null || missing+=(libelf-dev)
	(( ${#missing[@]} == 0 )) || die "missing: ${missing[*]}; as root: apt-get install $PACKAGE gcc make bc bison flex libelf-dev xz-utils"
}

source_version() {
	if [[ -z ${KERNEL_SOURCE:-} ]] && dpkg-query -W -f '${Version}\n' "$PACKAGE" 2> /dev/null; then
		return
	fi
	sha256sum < "$SOURCE"
}

hash_inputs() {
	{
		source_version
		cat "$CONFIG" "$HERE/build.sh"
		gcc --version | head -n 1
		ld --version | head -n 1
	} | sha256sum | cut -c 1-16
}

fail_with_log() { # MESSAGE LOG
	say "$1; the last lines of $2:"
	tail -n 30 "$2" >&2
	exit 1
}

# One line that is rewritten on a terminal, a line now and then elsewhere.
show_progress() { # LOG PID
	local start=$SECONDS n percent last=-15
	while kill -0 "$2" 2> /dev/null; do
		n=$(grep -c '^  [A-Z]' "$1" || :)
		percent=$(( n * 100 / STEPS ))
		(( percent < 99 )) || percent=99
		if [[ -t 2 ]]; then
			printf '\rkernel: compiling, %d %% (%d of about %d steps), %d s ' "$percent" "$n" "$STEPS" $(( SECONDS - start )) >&2
		elif (( SECONDS - last >= 15 )); then
			last=$SECONDS
			say "compiling, $percent % ($n of about $STEPS steps), $(( SECONDS - start )) s"
		fi
		sleep 1
	done
	[[ ! -t 2 ]] || printf '\n' >&2
}

unpack() { # DIR
	say "unpacking the parts that are compiled from $SOURCE"
	xz -T0 -dc "$SOURCE" | tar -x -C "$1" --strip-components=1 --no-same-owner --wildcards \
		--wildcards-match-slash '*/Kconfig*' '*/Makefile*' '*/Kbuild*' \
		--no-wildcards-match-slash "${PARTS[@]/#/$PACKAGE/}" > "$LOG" 2>&1 ||
		fail_with_log "cannot unpack the source" "$LOG"
}

# An option can be lost silently: renamed, or with a dependency that is off.
check_config() { # THE-KERNEL'S-.config
	local line key bad=0
	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -e "$line" "$1" && continue
			key=${line%%=*}
			say "config: asked for $line, got $(grep -E -e "^(# )?${key}[= ]" "$1" || echo "no such option here")" ;;
		'# CONFIG_'*' is not set')
			key=${line#\# } key=${key%% *}
			grep -q -e "^$key=" "$1" || continue
			say "config: asked for $key to be off, got $(grep -e "^$key=" "$1")" ;;
		*) continue ;;
		esac
		bad=1
	done < "$CONFIG"
	(( bad == 0 )) || die "$CONFIG does not hold; see scripts/kconfig of the source for what an option depends on"
}

compile() { # DIR TARGET...
	local dir=$1; shift
	local make=(make -C "$dir" ARCH=x86_64 "-j$(nproc)")
	"${make[@]}" KCONFIG_ALLCONFIG="$CONFIG" allnoconfig > "$LOG" 2>&1 || fail_with_log "the configuration failed" "$LOG"
	check_config "$dir/.config"
	"${make[@]}" "$@" >> "$LOG" 2>&1 &
	MAKE_PID=$!
	show_progress "$LOG" "$MAKE_PID"
	wait "$MAKE_PID" || { MAKE_PID=; fail_with_log "the build failed" "$LOG"; }
	MAKE_PID=
}

build() { # RESULT-DIRECTORY
	local start=$SECONDS targets=(vmlinux) tmp=$1.tmp
	say "building the guest kernel with $(nproc) CPUs, once; takes minutes, result in $1"
	WORK=$1.work
	rm -rf "$WORK" "$tmp"
	mkdir -p "$WORK" "$tmp"
	unpack "$WORK"
	[[ -z ${KERNEL_BZIMAGE:-} ]] || targets+=(bzImage)
	# Same input, same bytes; nothing of the caller's make or environment.
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES KCFLAGS KCPPFLAGS KAFLAGS CROSS_COMPILE KBUILD_OUTPUT LOCALVERSION
	export LC_ALL=C KBUILD_BUILD_USER=caisson KBUILD_BUILD_HOST=caisson KBUILD_BUILD_VERSION=1
	KBUILD_BUILD_TIMESTAMP=$(TZ=UTC date -r "$WORK/Makefile") && export KBUILD_BUILD_TIMESTAMP
	compile "$WORK" "${targets[@]}"
	strip --strip-all -o "$tmp/vmlinux" "$WORK/vmlinux"
	readelf -n "$tmp/vmlinux" 2> /dev/null | grep -q Xen || die "the PVH note is missing from vmlinux"
	cp "$WORK/.config" "$tmp/config"
	cp "$WORK/System.map" "$tmp/"
	[[ -z ${KERNEL_BZIMAGE:-} ]] || cp "$WORK/arch/x86/boot/bzImage" "$tmp/"
	rm -rf "$1" "$WORK"
	mv "$tmp" "$1"
	rm -f "$LOG"
	say "built in $(( SECONDS - start )) s"
}

main() {
	local out=${1:-} dir
	[[ -n $out ]] || die "usage: build.sh OUT | --hash"
	if [[ -n ${KERNEL:-} && $out != --hash ]]; then
		[[ -r $KERNEL && -f $KERNEL ]] || die "KERNEL=$KERNEL cannot be read"
		say "using $KERNEL"
		put "$KERNEL" "$out"
		return
	fi
	need_tools
	dir=$CACHE/kernel-$(hash_inputs)
	[[ $out != --hash ]] || { basename "$dir"; return; }
	LOG=$dir.log
	mkdir -p "$CACHE"
	exec 9> "$dir.lock"
	flock -n 9 || { say "another build of this kernel is running: waiting for it"; flock 9; }
	trap on_exit EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	if [[ ! -e $dir/vmlinux || ( -n ${KERNEL_BZIMAGE:-} && ! -e $dir/bzImage ) ]]; then
		build "$dir"
	fi
	put "$dir/vmlinux" "$out"
	[[ -z ${KERNEL_BZIMAGE:-} ]] || put "$dir/bzImage" "$KERNEL_BZIMAGE"
}

main "$@"
