# shellcheck shell=bash
# What every script here shares: words on stderr, tools that are fetched once, and processes and folders that
# are gone when the script ends, however it ends. Sourced by scripts that run under `set -euo pipefail`.

# Compiled helpers live outside the checkout, so that a fresh clone does not compile them again.
STOCKROOM_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/stockroom"

say() { printf '== %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# CI must not stay green on what it did not run, so what a person may do without is an error there.
in_ci() { [ "${CI:-}" = true ]; }

skipped=()

# missing WHAT WHY: names a part that cannot run; ends the script in CI.
missing() {
    in_ci && die "$1 is missing: $2"
    say "SKIPPED: $1: $2"
    skipped+=("$1: $2")
}

# Says once more, where it will be seen, what this run did not cover.
report_skipped() {
    local line
    for line in ${skipped[@]+"${skipped[@]}"}; do
        say "SKIPPED: $line"
    done
}

# apt_install PACKAGE...: true when the packages are there afterwards. Only root may, and only Debian can. The
# package lists are fetched only when the installation does not work without that.
apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing the Debian package $*"
    local install=(apt-get install --yes --quiet --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" >/dev/null 2>&1 || { apt-get update --quiet >&2 && "${install[@]}" >&2; }
}

# cargo_tool NAME VERSION [CARGO INSTALL OPTION...]: prints the path of a program from crates.io, which is compiled
# into the cache the first time. The lock keeps a second script from compiling the same thing beside it.
cargo_tool() {
    local name=$1 version=$2
    shift 2
    local root="$STOCKROOM_CACHE/$name-$version"
    if [ ! -x "$root/bin/$name" ]; then
        mkdir -p "$STOCKROOM_CACHE"
        (
            flock 9
            [ -x "$root/bin/$name" ] && exit 0
            say "compiling $name $version into $root; this happens once and takes some minutes"
            cargo install "$name" --version "$version" --locked --root "$root" "$@" >&2
        ) 9>"$root.lock" || return 1
    fi
    printf '%s\n' "$root/bin/$name"
}

# For tools whose compile time is longer than all their runs together.
cargo_tool_light() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo_tool "$@"
}

# random_hex BYTES: a secret for one run.
random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# A TCP port of 127.0.0.1 on which nobody listens, below the range the kernel hands out to clients.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s\n' "$port"
}

# Everything below is about things that end with the script.

scratch=""
backend_pids=()

# The script's own folder, in $scratch. It is under /tmp and not under TMPDIR, because the path of a Unix socket
# holds about 100 bytes. Others may pass through it (a server under another user has its folder inside), not list it.
make_scratch() {
    [ -z "$scratch" ] || return 0
    # A terminal's Ctrl-C reaches the servers as well; the traps are for ending in order and with the usual status.
    trap end_backends EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    scratch=$(mktemp -d /tmp/stockroom.XXXXXXXX)
    chmod 711 "$scratch"
}

# start_backend LOG SIGNAL COMMAND...: runs a server in the background until the script ends; its pid is in
# $backend_pid. The kernel sends it the signal when this shell dies, so that even `kill -9` leaves no server behind.
# It must therefore be called by the script's own shell, not within $(...) or a pipe.
start_backend() {
    local log=$1 signal=$2
    shift 2
    setpriv --pdeathsig "$signal" "$@" >"$log" 2>&1 </dev/null &
    backend_pid=$!
    backend_pids+=("$backend_pid")
}

# wait_until SECONDS PID COMMAND...: true as soon as the command is; false when the time is over or the process is gone.
wait_until() {
    local tries=$(($1 * 20)) pid=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] && kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
}

end_backends() {
    # A second Ctrl-C must not cut this short.
    trap '' HUP INT TERM
    local pid
    for pid in ${backend_pids[@]+"${backend_pids[@]}"}; do
        # SIGINT is the fast way out for both: PostgreSQL would wait for its clients after SIGTERM.
        kill -INT "$pid" 2>/dev/null || continue
        wait_until 5 $$ is_gone "$pid" || kill -KILL "$pid" || true
        wait "$pid" 2>/dev/null || true
    done
    backend_pids=()
    [ -z "$scratch" ] || rm -rf "$scratch"
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }
