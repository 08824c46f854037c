#!/bin/sh
# Runs README's install lines, make demo and make test on fresh Debian and Ubuntu systems, in a clean clone of HEAD: as
# root below a folder that nobody else can enter, and as an ordinary user in a home.
# Usage, as root: tools/fresh-machine.sh [bookworm|trixie|noble]...
#
# AS="root user"        who runs it
# RUN="make demo;..."   what is run in the clone
# FRESH=DIR             where the systems are kept as they were when installed, and the logs (~/.cache/orphanguard)
# PIP_*, *_proxy        are passed on: whatever pip needs to find an index from here
#
# A system is a copy of what debootstrap has made, in mount and pid namespaces of its own: when this ends, or is killed,
# its processes and mounts are gone. It has no more than README asks for, make and Python; the rest is for make to get.
set -eu
cd "$(dirname "$0")/.."
kept=${FRESH:-${XDG_CACHE_HOME:-$HOME/.cache}/orphanguard}
clone='sub folder/orphanguard'

say() { printf 'fresh: %s\n' "$*" >&2; }

# --- in the namespaces: $1 is the new root, $2 who, $3 what

inside() {
    root=$1 who=$2
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" 2>/dev/null || true
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    ln -sfn pts/ptmx "$root/dev/ptmx"
    ln -sfn /proc/self/fd "$root/dev/fd"
    ulimit -Sn 1024 # as everywhere
    cd "$root"
    pivot_root . mnt # no chroot: the kernel allows no user namespace in one
    umount -l mnt
    case $who in
    root) exec sh -c "$3" ;;
    user)
        set -- env HOME=/home/someone USER=someone sh -c "$3"
        exec setpriv --reuid=1000 --regid=1000 --init-groups --inh-caps=-all "$@"
        ;;
    esac
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
fi

# --- making the systems

[ "$(id -u)" = 0 ] || { say "only root can make other systems"; exit 77; }
for tool in debootstrap git unshare pivot_root; do
    command -v $tool >/dev/null || { say "no $tool (try: apt-get install debootstrap git util-linux)"; exit 77; }
done
umask 022
mkdir -p "$kept"
scratch=$(mktemp -d "$kept/run.XXXXXX")
running=
trap '[ -z "$running" ] || kill -KILL "$running" 2>/dev/null || true; wait; rm -rf --one-file-system "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Ubuntu's keys: where the host has none, those of Debian's package, which apt verifies.
ubuntu_keys() {
    keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    [ ! -e $keys ] || { echo $keys; return; }
    if [ ! -e "$kept/ubuntu$keys" ]; then
        system trixie
        within "$kept/trixie" root 'cd /tmp && apt-get -qq update && apt-get -qq download ubuntu-keyring' >&2
        dpkg-deb -x "$kept"/trixie/tmp/ubuntu-keyring_*.deb "$kept/ubuntu"
        rm "$kept"/trixie/tmp/ubuntu-keyring_*.deb
    fi
    echo "$kept/ubuntu$keys"
}

# What a user has: the release as installed, make and Python.
system() {
    [ ! -e "$kept/$1/.installed" ] || return 0
    say "$1: debootstrap"
    rm -rf --one-file-system "${kept:?}/$1"
    case $1 in
    noble)
        from="http://archive.ubuntu.com/ubuntu /usr/share/debootstrap/scripts/gutsy"
        set -- "$1" --components=main,universe --keyring="$(ubuntu_keys)"
        ;;
    *)
        from="http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid"
        set -- "$1"
        ;;
    esac
    release=$1
    shift
    # shellcheck disable=SC2086 # two words: an older debootstrap has no script of this name, and all are the same
    set -- --variant=minbase --include=make,python3 "$@" "$release" "$kept/$release" $from
    debootstrap "$@" >"$kept/$release.log" 2>&1 ||
        { tail -n 3 "$kept/$release.log" >&2; say "$release: no such system can be made here"; exit 77; }
    chroot "$kept/$release" useradd --create-home --uid 1000 --user-group someone
    touch "$kept/$release/.installed"
}

# within ROOT WHO COMMAND
within() ( # a subshell: its variables are its own
    cp -L /etc/resolv.conf "$1/etc/resolv.conf"
    echo "127.0.0.1 localhost" >"$1/etc/hosts"
    # A new environment, but for what the index needs.
    set -- "$@" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT http_proxy https_proxy no_proxy
    do
        eval "value=\${$name-}"
        [ -z "$value" ] || set -- "$@" "$name=$value"
    done
    if [ -n "${PIP_CERT-}" ]; then
        install -m 644 "$PIP_CERT" "$1/etc/index-ca.crt"
        set -- "$@" PIP_CERT=/etc/index-ca.crt
    fi
    root=$1 who=$2 command=$3
    shift 3
    exec "$@" setpriv --pdeathsig=KILL unshare --mount --pid --fork --kill-child \
        sh "$PWD/tools/fresh-machine.sh" --inside "$root" "$who" "$command"
)

# --- what a user does there

# try NAME ROOT WHO COMMAND: says what came of it; its output is in a log
try() {
    log=$kept/$1.log
    say "$1"
    within "$2" "$3" "$4" >"$log" 2>&1 &
    running=$!
    if wait $running; then
        tail -n 1 "$log"
    else
        failed="$failed $1"
        tail -n 25 "$log"
        say "$1: FAILED, see $log"
    fi
    running=
}

failed=
get="apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
# README's lines, as typed there.
readme_packages=$(sed -n 's/^    \$ sudo apt install //p' README.md)
readme=$(sed -n 's/^    \$ \(python3 -m venv .*\|pip install [^#]*\).*/\1/p' README.md)
[ "$readme_packages" ] && [ "$(echo "$readme" | wc -l)" = 2 ] || { say "README's install lines are not found"; exit 1; }
for release in ${*:-bookworm trixie noble}; do
    system "$release"
    for who in ${AS:-root user}; do
        fresh=$scratch/$release-$who
        cp -a "$kept/$release" "$fresh"
        home=/root
        [ "$who" = root ] || home=/home/someone
        git clone --quiet --no-hardlinks . "$fresh$home/$clone"
        chmod 700 "$fresh$home"
        there="set -e; cd ~/'$clone';"
        if [ "$who" = user ]; then
            chown -R 1000:1000 "$fresh$home"
            # What only root can install is named, in one line, with the command that installs it.
            said=$(within "$fresh" user "$there make demo" 2>&1 | grep -v '^make: ') || true
            packages=$(expr "$said" : 'orphanguard setup: missing: .*(try: sudo apt-get install \(.*\))$') ||
                { say "$release: make demo names nothing to install, but: $said"; exit 1; }
            try "$release-user-venv" "$fresh" root "$get python3-venv"
            said=$(within "$fresh" user "$there $readme" 2>&1 | grep -c '^ *orphanguard: no C compiler') || true
            [ "$said" = 1 ] || { say "$release: pip names no compiler"; failed="$failed $release-user-names"; }
            try "$release-user-apt" "$fresh" root "$get $readme_packages"
            try "$release-user-pip" "$fresh" user "$there $readme"
            try "$release-user-apt-more" "$fresh" root "$get $packages"
        fi
        echo "${RUN:-make demo;make test}" | tr ';' '\n' >"$scratch/run"
        while read -r command; do
            try "$release-$who-$(echo "$command" | tr -cs 'a-zA-Z0-9\n' -)" "$fresh" "$who" "$there $command" </dev/null
        done <"$scratch/run"
        rm -rf --one-file-system "$fresh"
    done
done
[ -z "$failed" ] || { say "failed:$failed"; exit 1; }
say "all green"
