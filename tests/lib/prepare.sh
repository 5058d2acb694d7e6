# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# To be sourced: have the packages and a build. Nothing here writes to stdout.

packages_build=(gcc libc6-dev meson ninja-build pkg-config libevent-dev libinih-dev libsystemd-dev
    libsmartcols-dev libncurses-dev)
packages_test=(libcmocka-dev python3-pytest g++ clang libclang-rt-14-dev util-linux strace
    mandoc systemd dbus libpam-systemd dbus-user-session debhelper git)
packages_wish=(spin) # for tests that are skipped without them
packages_bench=(redis-server)
# Each of them may be missing. Of tests/bench/channel only.
packages_channel=(g++ libzmq3-dev libboost-dev libqb-dev libiceoryx-posh-dev libiceoryx-hoofs-dev iceoryx
    gnuplot-nox)

prepare_logged() { # COMMAND...: its output is shown only where it fails
    local log code=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || code=$?
    if [ "$code" -ne 0 ]; then
        cat "$log" >&2
        echo "failed: $*" >&2
    fi
    rm -f "$log"
    return "$code"
}

prepare_apt() { # PACKAGE...
    apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
}

prepare_some() { # PACKAGE...: install those that are missing
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        return 0 # not Debian: the build will say what is missing
    fi
    for package; do
        case $(dpkg-query -W -f '${db:Status-Abbrev} ' "$package" 2>/dev/null) in
        *ii*) ;;
        *) missing+=("$package") ;;
        esac
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages; as root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}" >&2
    prepare_logged prepare_apt "${missing[@]}"
}

prepare_packages() { # build|test|bench: each includes those before it
    local wanted=("${packages_build[@]}")
    case $1 in
    build) ;;
    test) wanted+=("${packages_test[@]}") ;;
    bench) wanted+=("${packages_test[@]}" "${packages_bench[@]}") ;;
    *)
        echo "prepare_packages: no such set: $1" >&2
        return 2
        ;;
    esac
    prepare_some "${wanted[@]}"
}

prepare_build() { # DIR [MESON OPTION...]
    local dir=$1
    shift
    echo "building $dir" >&2
    if [ -f "$dir/build.ninja" ]; then
        prepare_logged meson setup --reconfigure "$dir" "$@" || return
    else
        prepare_logged meson setup "$dir" "$@" || return
    fi
    prepare_logged ninja -C "$dir"
}
