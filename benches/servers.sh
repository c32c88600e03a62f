# Servers side by side, for the benches that source it: where they and their load run, how they are started, waited for and
# ended. It knows nothing of what is measured.
#
# Before: `here`, `root` and AQUATINT are set. Who sources it makes `directory`, which goes at the end with all that lies there.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154

PATH=$PATH:/usr/sbin:/sbin

started=()
taken_ports=()
directory=
declare -A server_pid

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

stop_everything() {
    local pid
    for pid in "${started[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "$directory" ]; then
        rm -rf "$directory"
    fi
}
trap stop_everything EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Built for release unless AQUATINT names one.
find_binary() {
    if [ -z "$AQUATINT" ]; then
        (cd "$root" && cargo build --release --bin aquatint)
        AQUATINT=${CARGO_TARGET_DIR:-$root/target}/release/aquatint
    fi
    [ -x "$AQUATINT" ] || fail "no binary at $AQUATINT"
}

# The servers on the first allowed core, the load on the second: neither takes time from the other.
choose_cores() {
    local allowed cores=() range
    allowed=$(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status)
    for range in ${allowed//,/ }; do
        mapfile -t -O "${#cores[@]}" cores < <(seq "${range%-*}" "${range#*-}")
    done
    server_core=${cores[0]}
    load_core=${cores[1]:-$server_core}
    if [ "$server_core" = "$load_core" ]; then
        echo "note: one core only; servers and load share it"
    fi
}

# Sets `chosen_port`.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000))
        if [[ " ${taken_ports[*]} " != *" $port "* ]] && ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            taken_ports+=("$port")
            chosen_port=$port
            return
        fi
    done
}

# As root, nginx's workers stay root so that they can read what only root may.
nginx_user() {
    if [ "$(id -u)" = 0 ]; then
        echo "user root;"
    fi
}

start() { # name, command..
    local name=$1
    shift
    taskset -c "$server_core" "$@" >"$directory/$name.stdout" 2>"$directory/$name.stderr" &
    started+=($!)
    server_pid[$name]=$!
}

# Until a condition holds, while the server lives.
wait_until() { # name, what it does not do otherwise, condition..
    local name=$1 what=$2 attempt
    shift 2
    for ((attempt = 0; attempt < 400; attempt++)); do
        if "$@"; then
            return
        fi
        kill -0 "${server_pid[$name]}" 2>/dev/null || break
        sleep 0.05
    done
    cat "$directory/$name.stderr" >&2
    fail "$name does not $what"
}

wait_until_served() { # name, url
    wait_until "$1" "serve $2" curl -fsk -o /dev/null "$2"
}

wait_until_announced() { # name
    wait_until "$1" "say where it listens" grep -qs '^admin listening on ' "$directory/$1.stdout"
}

# Where an aquatint listens: of `edge` or `admin`, by `http` or `https`; with that before it.
announced() { # name, listener, scheme
    sed -n "s|^$2 listening on \($3://.*\)|\1|p" "$directory/$1.stdout"
}

processes_below() { # pid
    local child
    echo "$1"
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
        processes_below "$child"
    done
}

print_machine() {
    echo "$(uname -sr), $(nproc) cores; $(nginx -v 2>&1 | sed 's/.*: //'), $(varnishd -V 2>&1 | grep -o 'varnish-[0-9.]*' | head -n1)"
}
