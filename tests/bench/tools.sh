#!/usr/bin/env bash
# Installs the peers that the benchmarks run beside passferry.
#
#   tests/bench/tools.sh DIR
#
# From Debian (as root; else their names are printed): wrk, sqlite3, OpenSSH's server and clients, rclone, lftp, jq.
# Into DIR: DIR/bin/qsvlite (compiled with cargo, which takes many minutes) and DIR/frictionless/bin/frictionless (from PyPI).
# What is there already is kept. Peers that could not be had are named at the end, the status is then 1, and the benchmarks leave
# their lines out.
set -uo pipefail

QSV_VERSION=${QSV_VERSION:-16.1.0}
FRICTIONLESS_VERSION=${FRICTIONLESS_VERSION:-5.*}

if [ $# -ne 1 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    [ "${1:-}" = --help ] || [ "${1:-}" = -h ] && exit 0
    exit 2
fi
mkdir -p "$1" || exit 1
dir=$(cd "$1" && pwd)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '== %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }
absent=()

debian() {
    local pair packages=()
    for pair in wrk:wrk sqlite3:sqlite3 openssh-server:sshd openssh-client:sftp rclone:rclone lftp:lftp jq:jq python3-venv:python3; do
        has "${pair#*:}" || packages+=("${pair%:*}")
    done
    [ "${#packages[@]}" -eq 0 ] && return
    if [ "$(id -u)" != 0 ] || ! has apt-get; then
        say "Install these by: sudo apt-get install ${packages[*]}"
        absent+=("${packages[@]}")
        return
    fi
    say "Installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends "${packages[@]}" && return
    apt-get update -q && apt-get install -y -q --no-install-recommends "${packages[@]}" || absent+=("${packages[@]}")
}

frictionless() {
    local tool=$dir/frictionless/bin/frictionless
    [ -x "$tool" ] && return
    say "Installing frictionless $FRICTIONLESS_VERSION"
    python3 -m venv "$dir/frictionless" &&
        "$dir/frictionless/bin/pip" install --quiet --disable-pip-version-check "frictionless==$FRICTIONLESS_VERSION" && [ -x "$tool" ] ||
        absent+=(frictionless)
}

qsv() {
    [ -x "$dir/bin/qsvlite" ] && return
    say "Compiling qsv $QSV_VERSION, which takes many minutes"
    has cargo && qsv_source && nice cargo install --path "$dir/qsv-$QSV_VERSION" --locked --no-default-features --features lite --bin qsvlite \
        --root "$dir" --target-dir "$dir/qsv-target" && rm -rf "$dir/qsv-target" && return
    absent+=(qsv)
}

# qsv does not compile as published (5.1.0 to 16.1.0 looked at): its `json` command calls preserve_key_order, which only an unpublished
# fork of json-objects-to-csv has. Without that line `qsv json` would order columns otherwise; nothing else uses it.
qsv_source() {
    [ -d "$dir/qsv-$QSV_VERSION" ] && return
    local archive
    # The one cargo command that fetches a program's source without building it.
    (cd "$dir" && cargo info --quiet "qsv@$QSV_VERSION" >/dev/null)
    archive=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "qsv-$QSV_VERSION.crate" | head -n 1)
    [ -n "$archive" ] && tar -xzf "$archive" -C "$dir" && sed -i '/\.preserve_key_order(true)/d' "$dir/qsv-$QSV_VERSION/src/cmd/json.rs"
}

debian
frictionless
qsv

say "What is there"
for tool in "wrk -v" "sqlite3 --version" "ssh -V" "rclone version" "lftp --version" "jq --version" \
    "$dir/frictionless/bin/frictionless --version" "$dir/bin/qsvlite --version"; do
    has "${tool% *}" && printf '%s: %s\n' "$(basename "${tool% *}")" "$($tool 2>&1 | grep -m1 .)"
done
if [ "${#absent[@]}" -gt 0 ]; then
    printf 'Not to be had: %s\n' "${absent[*]}" >&2
    exit 1
fi
