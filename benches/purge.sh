#!/usr/bin/env bash
# What a purge costs: those who order it, and those who read meanwhile. Aquatint beside Varnish's bans, and nginx, whose
# cache files are deleted.
#
#   latency  from a webhook's first byte to its receipt, with few and many objects stored; and to purge a prefix of them all
#   hits     CPU time of the server process for a hit while its table of purges, or list of bans, is empty, long and very
#            long: the first hit of each object after them, further hits, and hits while purges go on
#
# All servers run at once on one core, each is driven in turn, in interleaved rounds, from another core; ratios are to the
# same server with the fewest objects or purges. No purge but the prefix's covers an object that is read.
#
# Variables: AQUATINT (the binary; built for release by default), ROUNDS, SECONDS_EACH, CONNECTIONS, WEBHOOKS (a round),
# PURGE_RATE (a second), BENCH_OBJECTS_MAX, BENCH_ENTRIES_MAX and BENCH_BANS_MAX (a quick form: 10000 1000 1000).
# Exits 1 when a goal is missed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

AQUATINT=${AQUATINT:-}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-3}
CONNECTIONS=${CONNECTIONS:-16}
WEBHOOKS=${WEBHOOKS:-400}
PURGE_RATE=${PURGE_RATE:-200}
BENCH_OBJECTS_MAX=${BENCH_OBJECTS_MAX:-1000000}
BENCH_ENTRIES_MAX=${BENCH_ENTRIES_MAX:-1000000}
BENCH_BANS_MAX=${BENCH_BANS_MAX:-10000}

# Goals: the highest ratio of the latency with the most objects to that with the fewest (median), of a further hit with the
# most entries to one with none, and of one while purges go on: then nearly every hit looks into the table anew.
LATENCY_GOAL=1.50
declare -A HIT_GOALS=([further]=1.10 [meanwhile]=1.25)

# Read in the second part.
export OBJECTS=1000

missed=0
declare -A address admin

# shellcheck source=benches/servers.sh
. "$here/servers.sh"

# ---- What is needed ----

build() {
    find_binary
    # Its own work is measured nowhere: the dev profile will do.
    (cd "$root" && cargo build --example orders)
    orders=${CARGO_TARGET_DIR:-$root/target}/debug/examples/orders
}

# Steps from few to many, up to a bound that is always one of them.
steps_up_to() { # bound, steps..
    local bound=$1 step
    shift
    for step in "$@"; do
        if [ "$step" -lt "$bound" ]; then
            echo "$step"
        fi
    done
    echo "$bound"
}

# ---- The servers ----

fill_in() { # template, file, name, memory
    sed -e "s|@DIR@|$directory|g" -e "s|@USER@|$(nginx_user)|g" -e "s|@ORIGIN_PORT@|$origin_port|g" \
        -e "s|@NGINX_PORT@|$nginx_port|g" -e "s|@NAME@|${3:-}|g" -e "s|@ENTRY_MEMORY@|${4:-}|g" -e "s|@KEYS@|$keys|g" \
        "$here/purge/$1.in" >"$directory/$2"
}

start_aquatint() { # name, memory for entries
    local listening
    fill_in aquatint.yaml "$1.yaml" "$1" "$2"
    start "$1" "$AQUATINT" serve --config "$directory/$1.yaml"
    wait_until_announced "$1"
    listening=$(announced "$1" edge http)
    address[$1]=${listening#http://}
    listening=$(announced "$1" admin http)
    admin[$1]=${listening#http://}
}

start_varnish() { # name
    free_port
    start "$1" varnishd -F -j none -n "$directory/$1" -a "127.0.0.1:$chosen_port" -T none \
        -f "$directory/varnish.vcl" -s malloc,256m
    address[$1]=127.0.0.1:$chosen_port
    wait_until_served "$1" "http://127.0.0.1:$chosen_port/o/1.jpg"
}

start_servers() {
    local step
    directory=$(mktemp -d "${TMPDIR:-/tmp}/aquatint-bench.XXXXXX")
    chmod 755 "$directory"
    mkdir "$directory/files"
    head -c 1KiB /dev/urandom >"$directory/files/object.jpg"
    keys=$("$orders" configuration)
    free_port && origin_port=$chosen_port
    free_port && nginx_port=$chosen_port
    fill_in nginx.conf nginx.conf
    fill_in varnish.vcl varnish.vcl
    start nginx nginx -p "$directory" -e "$directory/nginx.error.log" -c "$directory/nginx.conf"
    address[nginx]=127.0.0.1:$nginx_port
    wait_until_served nginx "http://127.0.0.1:$origin_port/o/1.jpg"
    for step in $(object_steps); do
        start_aquatint "objects.$step" 4GiB
    done
    for step in $(entry_steps); do
        start_aquatint "aquatint.$step" 64MiB
    done
    for step in $(ban_steps); do
        start_varnish "varnish.$step"
    done
}

object_steps() { steps_up_to "$BENCH_OBJECTS_MAX" 1000 100000; }
file_steps() { steps_up_to "$((BENCH_OBJECTS_MAX < 100000 ? BENCH_OBJECTS_MAX : 100000))" 1000 10000; }
entry_steps() { steps_up_to "$BENCH_ENTRIES_MAX" 0 1000; }
ban_steps() { steps_up_to "$BENCH_BANS_MAX" 0 1000; }

store() { # name, objects
    taskset -c "$load_core" "$orders" store "${address[$1]}" 1 "$2" || fail "$1 does not store $2 objects"
}

store_everything() {
    local step name
    for step in $(object_steps); do
        echo "storing $step objects" >&2
        store "objects.$step" "$step"
    done
    for name in "${readable[@]}"; do
        store "$name" "$OBJECTS"
    done
}

# ---- Measuring ----

# Time on the processor of a server and all its processes, in nanoseconds.
nanoseconds_of() { # name
    local pid
    for pid in $(processes_below "${server_pid[$1]}"); do
        cat "/proc/$pid"/task/*/schedstat 2>/dev/null || true
    done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

note() { # file, value
    echo "$2" >>"$directory/result.$1"
}

per() { # nanoseconds, count -> microseconds
    awk -v ns="$1" -v n="$2" 'BEGIN { printf "%.3f", ns / 1000 / n }'
}

# Sets `completed`.
drive() { # name
    local out=$directory/load.out
    taskset -c "$load_core" wrk -t1 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" -s "$here/purge/cycle.lua" \
        "http://${address[$1]}/" >"$out"
    if grep -qE 'Non-2xx|Socket errors' "$out"; then
        cat "$out" >&2
        fail "errors at $1"
    fi
    completed=$(awk '/requests in/ {print $1}' "$out")
}

put_purges() { # name
    local step=${1#*.} at
    case $1 in
        *.0) ;;
        aquatint.*) "$orders" table "${admin[$1]}" "$step" || fail "$1 takes no purges" ;;
        varnish.*) "$orders" bans "${address[$1]}" "$step" >/dev/null || fail "$1 takes no bans" ;;
    esac
}

go_on_purging() { # name, seconds
    case $1 in
        aquatint.*) taskset -c "$load_core" "$orders" steady "${admin[$1]}" "$PURGE_RATE" "$2" ;;
        varnish.*) taskset -c "$load_core" "$orders" steady-bans "${address[$1]}" "$PURGE_RATE" "$2" ;;
    esac
}

measure_hits() { # name
    local before purging purge
    put_purges "$1"

    before=$(nanoseconds_of "$1")
    store "$1" "$OBJECTS"
    note "first.$1" "$(per $(($(nanoseconds_of "$1") - before)) "$OBJECTS")"

    before=$(nanoseconds_of "$1")
    drive "$1"
    note "further.$1" "$(per $(($(nanoseconds_of "$1") - before)) "$completed")"

    before=$(nanoseconds_of "$1")
    go_on_purging "$1" 1
    purge=$((($(nanoseconds_of "$1") - before) / PURGE_RATE))
    note "purge.$1" "$(per "$purge" 1)"

    # What the purges themselves take is no hit's cost.
    go_on_purging "$1" "$SECONDS_EACH" &
    purging=$!
    before=$(nanoseconds_of "$1")
    drive "$1"
    note "meanwhile.$1" "$(per $(($(nanoseconds_of "$1") - before - purge * PURGE_RATE * SECONDS_EACH)) "$completed")"
    wait "$purging" || fail "$1: purges failed"
}

measure_latency() {
    local step
    "$orders" fsync "$directory" "$WEBHOOKS" >>"$directory/result.fsync"
    for step in $(object_steps); do
        taskset -c "$load_core" "$orders" latency "${address[objects.$step]}" "$step" "$WEBHOOKS" \
            >>"$directory/result.latency.$step" || fail "no receipts with $step objects"
    done
    taskset -c "$load_core" "$orders" bans "${address[varnish.0]}" "$WEBHOOKS" >>"$directory/result.ban"
}

measure_rounds() {
    local round name
    for ((round = 1; round <= ROUNDS; round++)); do
        measure_latency
        for name in "${readable[@]}"; do
            measure_hits "$name"
        done
        echo "round $round of $ROUNDS done" >&2
    done
}

# Everything that is stored goes, so it comes last.
measure_prefixes() {
    local step before
    for step in $(object_steps); do
        "$orders" prefix "${address[objects.$step]}" 20 >>"$directory/result.prefix.$step"
    done
    for step in $(file_steps); do
        store nginx "$step"
        before=$(date +%s%N)
        grep -rlZ -a -m1 '^KEY: http://origin/o/' "$directory/nginx.cache" | xargs -0 rm
        note "deleted.$step" "$(per $(($(date +%s%N) - before)) 1)"
    done
}

# ---- The table ----

percentile_of() { # file, percent
    sort -n "$directory/result.$1" | awk -v p="$2" '{ v[NR] = $1 }
        END { at = int(NR * p / 100 + 0.999999); print v[at < 1 ? 1 : at] }'
}

ratio() { # a, b
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}

verdict() { # ratio, goal
    if awk -v r="$1" -v g="$2" 'BEGIN { exit !(r <= g) }'; then
        verdict="<= $2 reached"
    else
        verdict="<= $2 MISSED"
        missed=1
    fi
}

print_latency() {
    local step p50 first=
    printf '\n%-44s %12s %12s   %s\n' "microseconds to a receipt" p50 p99 "ratio of p50"
    printf '%-44s %12s %12s\n' "a write of 4 KiB and its sync, alone" "$(percentile_of fsync 50)" "$(percentile_of fsync 99)"
    for step in $(object_steps); do
        p50=$(percentile_of "latency.$step" 50)
        first=${first:-$p50}
        printf '%-44s %12s %12s   %s\n' "aquatint, a webhook, $step objects" "$p50" \
            "$(percentile_of "latency.$step" 99)" "$(ratio "$p50" "$first")"
    done
    verdict "$(ratio "$p50" "$first")" "$LATENCY_GOAL"
    printf '%-44s %12s %12s   %s\n' "" "" "" "$verdict"
    printf '%-44s %12s %12s   (nothing is kept on disk)\n' "varnish, a ban" "$(percentile_of ban 50)" "$(percentile_of ban 99)"
}

print_prefixes() {
    local step p50 first=
    printf '\n%-44s %12s   %s\n' "microseconds to purge a prefix" p50 ratio
    for step in $(object_steps); do
        p50=$(percentile_of "prefix.$step" 50)
        first=${first:-$p50}
        printf '%-44s %12s   %s\n' "aquatint, a webhook, $step objects below it" "$p50" "$(ratio "$p50" "$first")"
    done
    first=
    for step in $(file_steps); do
        p50=$(percentile_of "deleted.$step" 50)
        first=${first:-$p50}
        printf '%-44s %12.0f   %s\n' "nginx, grep and rm, $step objects below it" "$p50" "$(ratio "$p50" "$first")"
    done
}

print_hits() {
    local name what values base
    printf '\n%-28s %18s %18s %18s %14s\n' "CPU us of a hit, and ratio" "first of each" "further" "$PURGE_RATE purges/s" "us a purge"
    for name in "${readable[@]}"; do
        values=()
        for what in first further meanwhile; do
            base=$(percentile_of "$what.${name%.*}.0" 50)
            values+=("$(percentile_of "$what.$name" 50) ($(ratio "$(percentile_of "$what.$name" 50)" "$base"))")
        done
        printf '%-28s %18s %18s %18s %14s\n' "${name%.*}, ${name#*.} before" "${values[@]}" "$(percentile_of "purge.$name" 50)"
    done
    for what in further meanwhile; do
        verdict "$(ratio "$(percentile_of "$what.aquatint.$BENCH_ENTRIES_MAX" 50)" \
            "$(percentile_of "$what.aquatint.0" 50)")" "${HIT_GOALS[$what]}"
        echo "aquatint, $what, $BENCH_ENTRIES_MAX to 0: $verdict"
    done
    echo "(the third column is without the purges' own time, which is in the fourth)"
}

print_table() {
    echo
    print_machine
    echo "medians of $ROUNDS interleaved rounds; $SECONDS_EACH s, $WEBHOOKS webhooks and $OBJECTS objects each"
    print_latency
    print_prefixes
    print_hits
}

build
choose_cores
readable=()
for step in $(entry_steps); do readable+=("aquatint.$step"); done
for step in $(ban_steps); do readable+=("varnish.$step"); done
start_servers
store_everything
measure_rounds
measure_prefixes
print_table
exit "$missed"
