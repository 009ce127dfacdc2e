#!/bin/sh
# Installs the Debian packages that the local stack needs and that are missing.
# It runs before there is a python3, so it is POSIX sh and needs nothing but dpkg.
#   packages.sh            install what is missing (apt as root, or through sudo)
#   packages.sh --missing  print what is missing, one a line, and install nothing
set -eu

PACKAGES="
ca-certificates git procps util-linux
python3 python3-dev python3-venv
gcc libc6-dev pkg-config libvirt-dev libvirt-clients
postgresql
qemu-system-x86 cpio e2fsprogs binutils
mmdebstrap qemu-utils openssh-client
libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-config-nwfilter iptables iproute2
chromium
"

fail() {
    printf 'packages: %s\n' "$1" >&2
    printf '  what to do: %s\n' "$2" >&2
    exit 1
}

missing() {
    # dpkg-query exits 1 when it knows one of the names not at all: that is an answer.
    # shellcheck disable=SC2086
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $PACKAGES 2>/dev/null |
        sed -n 's/ installed$//p') || true
    for package in $PACKAGES; do
        printf '%s\n' "$installed" | grep -qxF "$package" || printf '%s\n' "$package"
    done
}

command -v dpkg-query >/dev/null 2>&1 ||
    fail 'this is not Debian (no dpkg-query)' 'use Debian 12, or install by hand what deploy/local/packages.sh lists'

MISSING=$(missing)
if [ "${1:-}" = --missing ]; then
    [ -z "$MISSING" ] || printf '%s\n' "$MISSING"
    exit 0
fi
[ -n "$MISSING" ] || exit 0
MISSING=$(printf '%s ' $MISSING)

if [ "$(id -u)" = 0 ]; then
    AS_ROOT=
elif command -v sudo >/dev/null 2>&1; then
    # Asked for here, in the foreground: below, apt runs in the background.
    sudo -n true 2>/dev/null || sudo -v || fail 'sudo refused' "have an administrator run: apt-get install --no-install-recommends $MISSING"
    AS_ROOT=sudo
else
    fail 'packages are missing, and this is neither root nor has it sudo' \
        "have an administrator run: apt-get install --no-install-recommends $MISSING"
fi

cd "$(dirname "$0")/../.."
mkdir -p .local/log
LOG=.local/log/apt.log
START=$(date +%s)

# The package's own cluster would be one more server that nobody asked for. The drop-in
# lies there only while apt runs, so a later install behaves as Debian's own.
DROP_IN=/etc/postgresql-common/createcluster.d/gpucloud.conf
forget_drop_in() { [ -z "${DROPPED:-}" ] || $AS_ROOT rm -f "$DROP_IN"; }
trap forget_drop_in EXIT
trap 'exit 130' INT TERM

# progress TEXT COMMAND...: run it, its output in the log, a line every 10 s.
progress() {
    text=$1
    shift
    printf '=== %s\n' "$text" >>"$LOG"
    "$@" >>"$LOG" 2>&1 </dev/null &
    child=$!
    seconds=0
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        [ $((seconds % 10)) -ne 0 ] ||
            printf '  packages: %s s, %s: %.60s\n' "$(($(date +%s) - START))" "$text" "$(tail -n 1 "$LOG")"
    done
    wait "$child"
}

apt_failed() {
    tail -n 15 "$LOG" >&2
    if tail -n 40 "$LOG" | grep -q 'No space left\|enough free space'; then
        fail "$1: the disk is full" 'free some space (about 2 GiB are needed), then the same command again'
    fi
    fail "$1 (all of it: $LOG)" 'look at the lines above; then the same command again'
}

printf 'packages: installing %s\n' "$MISSING"
progress 'list of packages' $AS_ROOT apt-get update -q || apt_failed 'apt-get update failed'
case " $MISSING" in
*' postgresql '*)
    if [ ! -e "$DROP_IN" ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        $AS_ROOT mkdir -p "$(dirname "$DROP_IN")"
        DROPPED=yes
        echo 'create_main_cluster = false' | $AS_ROOT tee "$DROP_IN" >/dev/null
    fi
    ;;
esac
# shellcheck disable=SC2086
progress 'install' $AS_ROOT env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=0 $MISSING ||
    apt_failed 'apt-get install failed'
printf 'packages: installed in %s s\n' "$(($(date +%s) - START))"
