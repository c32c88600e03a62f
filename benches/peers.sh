#!/usr/bin/env bash
# Aquatint beside nginx and Varnish: CPU time per request of the whole server, requests per second and p99 latency.
#
# All three stand in front of one origin with the same files, on the loopback, warmed until they answer from
# their caches. Each is driven in turn, in interleaved rounds, so that a machine that slows down slows all of
# them. The server runs on one core and the load on another; without a second core the ratios are still told,
# with less to trust. The table gives medians over the rounds, and beside each ratio the goal it has to reach.
#
# Variables: AQUATINT (the binary; built for release by default, `none` leaves it out), ROUNDS, SECONDS_EACH,
# CONNECTIONS, NGINX_EXTRA (directives for nginx's http block, such as `open_file_cache max=1000;`, with which it
# opens no file on a hit). Exits 1 when a goal is missed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

AQUATINT=${AQUATINT:-}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-4}
CONNECTIONS=${CONNECTIONS:-64}
NGINX_EXTRA=${NGINX_EXTRA:-}

# Goals by protocol and KiB: the highest ratio of aquatint's CPU time to that of the cheapest peer.
declare -A GOALS=(
    [http:1]=0.65 [http:16]=0.72 [http:64]=0.82
    [h2:1]=0.85 [h2:16]=0.55 [h2:64]=0.60
    [https:1]=0.80 [https:16]=0.62 [https:64]=0.50
)
SIZES=(1 16 64)

declare -A address tls_address

# shellcheck source=benches/servers.sh
. "$here/servers.sh"

# ---- What is needed ----

need_tools() {
    local tool missing=()
    for tool in nginx varnishd wrk h2load openssl curl taskset; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    echo "missing: ${missing[*]}"
    if [ -x "$root/scripts/packages" ]; then
        "$root/scripts/packages" peers
    else
        fail "bring them with: apt-get install -y nginx varnish wrk nghttp2-client openssl curl util-linux"
    fi
}

# ---- The servers ----

prepare_directory() {
    directory=$(mktemp -d)
    chmod 755 "$directory"
    mkdir "$directory/files" "$directory/varnish"
    local size
    for size in "${SIZES[@]}"; do
        head -c "${size}KiB" /dev/urandom >"$directory/files/$size.jpg"
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$directory/key.pem" -out "$directory/certificate.pem" 2>/dev/null
}

fill_in() { # template, file
    sed -e "s|@DIR@|$directory|g" -e "s|@USER@|$(nginx_user)|g" -e "s|@ORIGIN_PORT@|$origin_port|g" \
        -e "s|@NGINX_EXTRA@|$NGINX_EXTRA|g" -e "s|@NGINX_PORT@|$nginx_port|g" -e "s|@NGINX_TLS_PORT@|$nginx_tls_port|g" \
        "$here/peers/$1.in" >"$directory/$2"
}

start_servers() {
    free_port && origin_port=$chosen_port
    free_port && nginx_port=$chosen_port
    free_port && nginx_tls_port=$chosen_port
    free_port && varnish_port=$chosen_port
    fill_in origin.conf origin.conf
    fill_in nginx.conf nginx.conf
    fill_in varnish.vcl varnish.vcl
    fill_in aquatint.yaml aquatint.yaml

    start origin nginx -p "$directory" -e "$directory/origin.error.log" -c "$directory/origin.conf"
    wait_until_served origin "http://127.0.0.1:$origin_port/1.jpg"

    start nginx nginx -p "$directory" -e "$directory/nginx.error.log" -c "$directory/nginx.conf"
    address[nginx]=http://127.0.0.1:$nginx_port
    tls_address[nginx]=https://127.0.0.1:$nginx_tls_port

    start varnish varnishd -F -j none -n "$directory/varnish" -a "127.0.0.1:$varnish_port" -T none \
        -f "$directory/varnish.vcl" -s malloc,256m
    address[varnish]=http://127.0.0.1:$varnish_port

    if [ "$AQUATINT" != none ]; then
        start aquatint "$AQUATINT" serve --config "$directory/aquatint.yaml"
        wait_until_announced aquatint
        address[aquatint]=$(announced aquatint edge http)
        tls_address[aquatint]=$(announced aquatint edge https)
    fi
}

# Every cache answers with the file's own bytes, the second time without the origin.
warm() {
    local name size url base
    for name in "${names[@]}"; do
        for base in "${address[$name]}" ${tls_address[$name]:-}; do
            for size in "${SIZES[@]}"; do
                url=$base/$size.jpg
                wait_until_served "$name" "$url"
                curl -fsk "$url" | cmp -s - "$directory/files/$size.jpg" || fail "$name: other bytes at $url"
            done
        done
    done
}

# ---- Measuring ----

# utime + stime of a server and all its processes, in clock ticks.
ticks_of() { # pid
    local pid stat total=0
    for pid in $(processes_below "$1"); do
        stat=$(<"/proc/$pid/stat") 2>/dev/null || continue
        # The command's name stands in parentheses and may hold anything.
        read -ra stat <<<"${stat##*) }"
        total=$((total + stat[11] + stat[12]))
    done
    echo "$total"
}

# Each sets completed, rate and p99_us of one run.
drive_with_wrk() { # url
    local out=$directory/load.out
    taskset -c "$load_core" wrk -t1 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" --latency "$1" >"$out"
    if grep -qE 'Non-2xx|Socket errors' "$out"; then
        cat "$out" >&2
        fail "errors at $1"
    fi
    completed=$(awk '/requests in/ {print $1}' "$out")
    rate=$(awk '/^Requests\/sec:/ {print $2}' "$out")
    p99_us=$(awk '$1 == "99%" {print in_us($2)}
        function in_us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1000 : t * 1000000 }' "$out")
}

drive_with_h2load() { # url, arguments..
    local url=$1 out=$directory/load.out log=$directory/load.log
    shift
    rm -f "$log"
    taskset -c "$load_core" h2load -t1 -c16 -D"$SECONDS_EACH" --log-file="$log" "$@" "$url" >"$out"
    completed=$(sed -n 's/^requests: .* \([0-9]*\) succeeded.*/\1/p' "$out")
    if [ "${completed:-0}" -eq 0 ] || ! grep -q ' 0 4xx, 0 5xx' "$out"; then
        cat "$out" >&2
        fail "errors at $url"
    fi
    rate=$(sed -n 's|^finished in .*, \([0-9.]*\) req/s,.*|\1|p' "$out")
    p99_us=$(cut -f3 "$log" | sort -n | awk '{t[NR] = $1} END {print t[int(NR * 0.99) + (NR < 100)]}')
}

measure() { # protocol, size, name
    local protocol=$1 size=$2 name=$3 pid=${server_pid[$3]} before after
    before=$(ticks_of "$pid")
    case $protocol in
        http) drive_with_wrk "${address[$name]}/$size.jpg" ;;
        h2) drive_with_h2load "${tls_address[$name]}/$size.jpg" -m10 ;;
        https) drive_with_h2load "${tls_address[$name]}/$size.jpg" --h1 -m1 ;;
    esac
    after=$(ticks_of "$pid")
    awk -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" -v n="$completed" -v rate="$rate" -v p99="$p99_us" \
        'BEGIN { printf "%.2f %.0f %.0f\n", ticks / hertz * 1e6 / n, rate, p99 }' \
        >>"$directory/result.$protocol.$size.$name"
}

measure_all() {
    local round protocol size name
    for ((round = 1; round <= ROUNDS; round++)); do
        for protocol in http h2 https; do
            for size in "${SIZES[@]}"; do
                for name in "${names[@]}"; do
                    speaks "$name" "$protocol" || continue
                    measure "$protocol" "$size" "$name"
                done
            done
        done
        echo "round $round of $ROUNDS done" >&2
    done
}

speaks() { # name, protocol
    [ "$2" = http ] || [ -n "${tls_address[$1]:-}" ]
}

# ---- The table ----

median_of() { # file, column
    cut -d' ' -f"$2" "$1" | sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}

title_of() { # protocol
    case $1 in
        http) echo "clear text, HTTP/1.1 (wrk -t1 -c$CONNECTIONS)" ;;
        h2) echo "TLS, HTTP/2 (h2load -c16 -m10)" ;;
        https) echo "TLS, HTTP/1.1 (h2load -c16)" ;;
    esac
}

# The cheapest peer's CPU time; aquatint is no peer of itself.
cheapest_of() { # protocol, size
    local name file
    for name in "${names[@]}"; do
        file=$directory/result.$1.$2.$name
        if [ "$name" != aquatint ] && [ -s "$file" ]; then
            median_of "$file" 1
        fi
    done | sort -n | head -n1
}

print_row() { # protocol, size, name
    local file=$directory/result.$1.$2.$3 cpu ratio=- goal=- verdict=
    [ -s "$file" ] || return 0
    cpu=$(median_of "$file" 1)
    if [ "$3" = aquatint ]; then
        goal=${GOALS[$1:$2]}
        ratio=$(awk -v a="$cpu" -v b="$(cheapest_of "$1" "$2")" 'BEGIN { printf "%.2f", a / b }')
        verdict=$(awk -v r="$ratio" -v g="$goal" 'BEGIN { print r <= g ? "reached" : "MISSED" }')
        if [ "$verdict" = MISSED ]; then
            missed=1
        fi
    fi
    printf '%-8s %-9s %10.2f %10.0f %10.0f   %-6s %-6s %s\n' \
        "$2 KiB" "$3" "$cpu" "$(median_of "$file" 2)" "$(median_of "$file" 3)" "$ratio" "$goal" "$verdict"
}

print_table() {
    local protocol size name
    echo
    print_machine
    echo "medians of $ROUNDS interleaved rounds of $SECONDS_EACH s; ratio: CPU of aquatint / of the cheapest peer"
    for protocol in http h2 https; do
        printf '\n%s\n' "$(title_of "$protocol")"
        printf '%-8s %-9s %10s %10s %10s   %-6s %-6s\n' body server "CPU us/req" req/s "p99 us" ratio goal
        for size in "${SIZES[@]}"; do
            for name in "${names[@]}"; do
                print_row "$protocol" "$size" "$name"
            done
        done
    done
}

need_tools
[ "$AQUATINT" = none ] || find_binary
choose_cores
prepare_directory
start_servers
names=(nginx varnish)
[ "$AQUATINT" = none ] || names+=(aquatint)
warm
measure_all
missed=0
print_table
exit "$missed"
