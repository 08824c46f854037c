#!/bin/sh
# Makes the virtual environment of this checkout: orphanguard (editable) and what its tests and demo need.
# Usage: tools/setup-venv.sh VENV [PYTHON]
#
# What only the system can provide (compiler, headers, venv support) is installed by apt when we are root,
# and named in one line when we are not.
set -eu
cd "$(dirname "$0")/.."
venv=$1
python=${2:-python3}

say() { printf 'orphanguard setup: %s\n' "$*" >&2; }

command -v "$python" >/dev/null || { say "no $python: install Python 3.10 or later"; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { say "$python is older than Python 3.10"; exit 1; }

needed=   # without these nothing works
useful=   # without these some tests are skipped, each with its reason
c_compiles() { printf '#include <%s>\nint main(void) { return 0; }\n' "$1" | cc -x c "$2" - -o /dev/null 2>/dev/null; }
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')

"$python" -c 'import venv, ensurepip' 2>/dev/null || needed="$needed python3-venv"
c_compiles stdlib.h -I. || needed="$needed gcc libc6-dev"
[ -e "$include/Python.h" ] || needed="$needed python3-dev"
[ -e /usr/include/sys/capability.h ] || useful="$useful libcap-dev"
command -v strace >/dev/null || useful="$useful strace"
command -v ssh-agent >/dev/null || useful="$useful openssh-client"
PATH=$PATH:/usr/sbin command -v setcap >/dev/null || useful="$useful libcap2-bin"

if [ -n "$needed$useful" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing by apt:$needed$useful"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        apt-get install -qq -y --no-install-recommends $needed $useful >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -qq -y --no-install-recommends $needed $useful >/dev/null; }
    elif [ -n "$needed" ]; then
        say "missing:$needed (try: sudo apt-get install$needed$useful)"
        exit 1
    else
        say "missing, some tests will be skipped:$useful (try: sudo apt-get install$useful)"
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install --upgrade "pip>=25.1"
pip install --group dev
# python-prctl comes as source only and needs libcap's headers.
[ ! -e /usr/include/sys/capability.h ] || pip install --group prctl
pip install --only-binary :all: --group beside || say "not all of the group 'beside' is to be had: some tests are skipped"
pip install --editable .
touch "$venv/.ready"
