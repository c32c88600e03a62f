//! Arguments in, a command run, an exit code out: 0, 64 for bad usage or configuration, 1 for any other failure.

use std::process::ExitCode;

/// Measured against glibc's and jemalloc: as fast, and the fewest resident bytes for each cached object.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    aquatint::cli::run(std::env::args_os())
}
