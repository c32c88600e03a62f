//! Compiles `proto/aquatint.proto` without a `protoc` on the machine.

use std::error::Error;

const PROTO: &str = "proto/aquatint.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let files = protox::compile([PROTO], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
