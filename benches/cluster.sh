#!/usr/bin/env bash
# Clusters of 1, 3 and 9 nodes under one load, real processes on the loopback: what the origin is asked, what a request
# costs, how even the work is, what a death is felt like, and how many keys move. All of it is in tests/cluster/bench.rs.
#
# Variables: AQUATINT (the binary; built for release by default), BENCH_NODES (sizes; "1 3 9"),
# BENCH_REQUESTS (of each measurement).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

AQUATINT=${AQUATINT:-}

# shellcheck source=benches/servers.sh
. "$here/servers.sh"

find_binary
echo "$(uname -sr), $(nproc) cores; $("$AQUATINT" --version)"
cd "$root"
AQUATINT_BINARY=$AQUATINT cargo test --test cluster -- --ignored --exact --nocapture bench::figures
