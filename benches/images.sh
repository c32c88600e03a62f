#!/usr/bin/env bash
# Aquatint's transforms beside sharp: time, bytes, distance from a reference and memory, in one table.
#
# Sharp comes by npm into the target directory. Both sides run on one core, one thread each, in interleaved rounds;
# what is measured and how is told in benches/transform.rs and docs/images-bench.md.
#
# Variables: IMAGES (a directory of photos; without it they are made in code), ROUNDS, RUNS, JOBS (a,b2,..), CORE,
# TRANSFORM (the bench's binary; built with the bench profile by default). Exits 1 when a goal is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

node_needed=20
target=${CARGO_TARGET_DIR:-target}
modules=$target/bench-images

give_up() {
    echo "images.sh: $*" >&2
    exit 64
}

need_node() {
    local version
    version=$(node --version 2>/dev/null) || give_up "Node.js is not in PATH: see https://nodejs.org"
    version=${version#v}
    [ "${version%%.*}" -ge "$node_needed" ] ||
        give_up "sharp needs Node.js $node_needed or newer; this is $version: see https://nodejs.org"
}

install_sharp() {
    if cmp -s benches/images/package.json "$modules/package.json" && [ -d "$modules/node_modules/sharp" ]; then
        return
    fi
    command -v npm >/dev/null || give_up "sharp comes by npm, which is not in PATH"
    rm -rf "$modules"
    mkdir -p "$modules/part"
    cp benches/images/package.json "$modules/part/"
    (cd "$modules/part" && npm install --no-audit --no-fund --no-package-lock --loglevel=error >&2)
    # What was broken off is not taken for whole: the manifest comes last.
    mv "$modules/part/node_modules" "$modules/"
    mv "$modules/part/package.json" "$modules/"
}

first_core() {
    local allowed
    allowed=$(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status)
    echo "${allowed%%[-,]*}"
}

need_node
install_sharp
if [ -z "${TRANSFORM:-}" ]; then
    cargo bench --no-run --bench transform
    run=(cargo bench --quiet --bench transform --)
else
    run=("$TRANSFORM")
fi
exec taskset -c "${CORE:-$(first_core)}" "${run[@]}" --sharp "$PWD/benches/images/sharp.mjs" "$(realpath "$modules")"
