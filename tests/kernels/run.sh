#!/bin/sh
# What the kernel has to do for a lifeline, checked on real kernels: each is booted in a virtual machine, with a static
# program of csrc/shim/ and the checks here, and nothing else. Emulated: KVM hangs on some hosts, and a guest takes seconds.
# Usage: KERNELS=DIR tests/kernels/run.sh [CHECK]...
#
# KERNELS    every vmlinuz* below it is a kernel (~/.cache/orphanguard/kernels; tests/kernels/get.sh fetches Debian's)
# ONLY="5.10 7.3"   these versions only
# ROUNDS     how often each way to end is tried (5)
# TIMEOUT    for one kernel, in seconds (1800)
# ON=here    no virtual machine: the kernel that runs
# CC, QEMU   other programs
set -eu
cd "$(dirname "$0")/../.."
kernels=${KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/orphanguard/kernels}
qemu=${QEMU:-qemu-system-x86_64}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

say() { printf 'kernels: %s\n' "$*" >&2; }

sources=$(echo csrc/shim/*.c)
for name in checks order tether starts costs; do
    sources="$sources tests/kernels/$name.c"
done
compile="${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -static -pthread -Icsrc -Icsrc/shim -Icsrc/launcher"
# shellcheck disable=SC2086
$compile -o "$out/tether" $sources
if [ "${ON:-}" = here ]; then
    exec "$out/tether" "$@"
fi

found=$(find -L "$kernels" -name 'vmlinuz*' -type f 2> /dev/null | sort -V)
if [ -z "$found" ]; then
    say "no vmlinuz* below $kernels: set KERNELS, or fetch Debian's with tests/kernels/get.sh"
    exit 77
fi
for program in "$qemu" cpio; do
    if ! command -v "$program" > /dev/null; then
        say "$program is needed (apt-get install qemu-system-x86 cpio)"
        exit 77
    fi
done

mkdir "$out/root"
$compile -o "$out/root/init" tests/kernels/init.c
cp "$out/tether" "$out/root/tether"
(cd "$out/root" && find . | cpio -o -H newc --quiet) > "$out/initrd"

status=0
boot() {
    : > "$out/console"
    : > "$out/said"
    # no_timer_check: on a busy host the check at boot fails by chance.
    timeout -k 5 "${TIMEOUT:-1800}" "$qemu" -machine pc -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nodefaults \
        -no-user-config -display none -no-reboot -monitor none -kernel "$1" -initrd "$out/initrd" \
        -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off no_timer_check -- ROUNDS=${ROUNDS:-5} $2" \
        -serial "file:$out/console" -serial "file:$out/said" > "$out/qemu" 2>&1 || true
    grep -v '^STATUS' "$out/said" || true
    grep -E 'BUG:|WARNING:|Oops|stall|Out of memory' "$out/console" "$out/qemu" || true
    case $(sed -n 's/^STATUS //p' "$out/said") in
    0) ;;
    '')
        say "$1: no status (a panic, or ${TIMEOUT:-1800} s were over)"
        tail -n 15 "$out/console" "$out/qemu"
        status=1
        ;;
    *)
        say "$1: failed"
        status=1
        ;;
    esac
}

for kernel in $found; do
    wanted=${ONLY:+no}
    for only in ${ONLY:-}; do
        case $kernel in *[/-]"$only"[.-]*) wanted= ;; esac
    done
    [ "$wanted" ] || boot "$kernel" "$*"
done
exit $status
