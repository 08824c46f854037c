#!/bin/sh
# Downloads kernels of Debian's and unpacks them below $KERNELS (~/.cache/orphanguard/kernels). Nothing is installed.
# Usage: tests/kernels/get.sh [ABI]...
#
# Without an ABI: the newest cloud kernel that can be had of each of 5.10, 6.1, 6.12, 6.16, 7.1 and 7.3. One that the
# mirror no longer has is named, and the exit status is 1; the others are there.
set -eu
kept=${KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/orphanguard/kernels}
apt=$kept/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
cd "$apt"

# An apt of our own: it touches nothing of the system's.
: > status
{
    for suite in bullseye bookworm trixie trixie-backports; do
        echo "deb http://deb.debian.org/debian $suite main"
    done
    for suite in bullseye bookworm trixie; do
        echo "deb http://deb.debian.org/debian-security $suite-security main"
    done
} > sources.list
cat > apt.conf << END
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::TrustedParts "/usr/share/keyrings";
APT::Architecture "amd64";
APT::Sandbox::User "root";
END
export APT_CONFIG=$apt/apt.conf
apt-get update -qq

# From 6.19 on, linux-image is empty: the image is in linux-binary.
package_of() {
    for kind in binary image; do
        if apt-cache show "linux-$kind-$1" > /dev/null 2>&1; then
            echo "linux-$kind-$1"
            return
        fi
    done
}

if [ $# = 0 ]; then
    for version in 5.10 6.1 6.12 6.16 7.1 7.3; do
        pattern=$(echo "$version" | sed 's/\./\\./g')
        abi=$(apt-cache --names-only search "^linux-(image|binary)-$pattern[-.].*cloud-amd64\$" |
            sed 's/ .*//; s/^linux-[a-z]*-//' | sort -uV | tail -n 1)
        set -- "$@" "${abi:-$version}"
    done
fi

missing=0
for abi; do
    package=$(package_of "$abi")
    if [ -n "$package" ] && (apt-get download -qq "$package" && dpkg-deb -x "$package"_*.deb "$kept/$abi"); then
        rm -f "$package"_*.deb
        echo "got $abi"
    else
        echo "not to be had: $abi" >&2
        missing=1
    fi
done
exit $missing
