#!/bin/sh
# Builds orphanguard-run with sanitizers, and runs that build and an ordinary one under valgrind, through every path
# that a command can take. Usage: tools/check-supervisor.sh [asan|valgrind]...; a missing tool is said, and exit 77.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
sources="csrc/supervisor/*.c"

groups=--groups=1,2 pidns=
if [ "$(id -u)" != 0 ]; then
    groups= # only root may change them
    unshare --user --pid --fork true || pidns=: # unshare has said why
fi

# Every kind of end, with a tree that has left what can be left; and what is bad input.
scenarios() {
    expect 0 true
    expect 7 --verbose sh -c 'exit 7'
    expect 143 sh -c 'kill -TERM $$'
    expect 3 --status-fd=3 sh -c 'setsid sleep 1000 & (sleep 1000 &) ; exit 3'
    expect 3 --signal=TERM --grace=100ms sh -c 'trap "" TERM; setsid sleep 1000 & sleep 1000 & exit 3'
    $pidns expect 3 --tree=pidns --grace=5s sh -c 'setsid sleep 1000 & exit 3'
    expect 5 sh -c '(sleep 0.2; kill -CONT '"\$PPID"') & kill -STOP $$; exit 5'
    expect 5 --executable=/nonexistent --executable=/bin/sh $groups --uid="$(id -u)" any -c 'exit 5'
    expect 125 --no-such-option
    expect 125 --uid=x true
    expect 125 --grace=1x true
    expect 125 --signal=NONE true
    expect "${cannot:-126}" /
    expect "${cannot:-127}" /nonexistent/command
}

expect() {
    wanted=$1
    shift
    got=0
    $with "$program" "$@" 3>/dev/null >"$out/stdout" 2>"$out/stderr" || got=$?
    if [ "$got" != "$wanted" ] || grep -qE 'ERROR SUMMARY: [1-9]|Sanitizer|runtime error' "$out/stderr"; then
        echo "$with orphanguard-run $*: status $got, not $wanted"
        cat "$out/stderr"
        exit 1
    fi
}

program=$out/orphanguard-run
for kind in "${@:-asan}"; do
    case $kind in
    asan)
        ${CC:-cc} -std=gnu11 -Icsrc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -o "$program" $sources
        # Leaks are not looked for: it ends by _exit(), and what is allocated is needed until then.
        with="env ASAN_OPTIONS=detect_leaks=0"
        ;;
    valgrind)
        command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 77; }
        ${CC:-cc} -std=gnu11 -Icsrc -g -O1 -o "$program" $sources
        with="valgrind --quiet --error-exitcode=99"
        cannot=125 # its clone() shares no memory, so the reason of a failed exec does not arrive
        # Its own answer to a system call that it has not heard of is ENOSYS.
        if $with "$program" true 2>&1 | grep -q 'unhandled.*syscall: 434'; then
            ${CC:-cc} -std=gnu11 -Icsrc -g -O1 -Wl,--wrap=syscall -o "$program" $sources tools/valgrind_pidfd.c
            with="${PYTHON:-python3} tools/valgrind_pidfd.py $with"
        fi
        ;;
    *) echo "no such check: $kind"; exit 2 ;;
    esac
    scenarios
    echo "$kind: clean"
done
