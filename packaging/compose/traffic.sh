#!/usr/bin/env bash
# Asks the edges for images, so that dashboards show something: some ten requests a second, one after the other, for an hour.
#
# Needs bash alone. EDGE_HOST, EDGE_PORT, TRAFFIC_SECONDS and TRAFFIC_PAUSE (seconds between two requests) change it.
set -euo pipefail

host=${EDGE_HOST:-balancer}
port=${EDGE_PORT:-8080}
ends=$((SECONDS + ${TRAFFIC_SECONDS:-3600}))
images=(hills.jpg tide.png lagoon.webp drop.svg)
widths=(64 128 320 640 960)
formats=(webp jpeg auto)

ask() { # method, path
    # An edge that is not there for a moment ends nothing.
    { exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || return 0
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nAccept: image/avif,image/webp,*/*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' \
        "$1" "$2" "$host" >&3 || true
    cat <&3 >/dev/null || true
    exec 3>&-
}

any() { # words
    local words=("$@")
    REPLY=${words[RANDOM % ${#words[@]}]}
}

while ((SECONDS < ends)); do
    any "${images[@]}"
    image=$REPLY
    case $((RANDOM % 20)) in
        0) ask GET "/missing-$((RANDOM % 5)).png" ;;
        1) ask POST "/$image" ;;
        2) ask GET "/$image?v=$((RANDOM % 50))" ;;
        [3-9])
            any "${widths[@]}"
            width=$REPLY
            any "${formats[@]}"
            ask GET "/$image?w=$width&fm=$REPLY"
            ;;
        *) ask GET "/$image" ;;
    esac
    sleep "${TRAFFIC_PAUSE:-0.1}"
done
