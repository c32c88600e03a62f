# The edge in a container: `make image`, then
#     docker run --rm -p 8080:8080 -v cache:/var/cache/aquatint aquatint serve --origin http://images.example --data /var/cache/aquatint
#
# What builds it stays behind. It runs as a user without rights, and writes nothing but its cache.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake nasm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /aquatint
COPY Cargo.toml Cargo.lock README.md build.rs ./
# What libaom is built with: without it the decoder of AVIF has no limit of size.
COPY .cargo .cargo
COPY proto proto
COPY src src
# Cargo wants the files of every target that its manifest names, though none of these is built.
COPY benches benches
COPY tests tests
RUN cargo build --release --locked --bin aquatint \
    && strip target/release/aquatint

FROM debian:bookworm-slim
# Roots for origins with TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && useradd --system --uid 8080 --home-dir /nonexistent --shell /usr/sbin/nologin aquatint \
    && install -d -o aquatint -g aquatint -m 750 /var/cache/aquatint
COPY --from=build /aquatint/target/release/aquatint /usr/bin/aquatint
COPY packaging/container.yaml /etc/aquatint/aquatint.yaml
COPY LICENSE /usr/share/doc/aquatint/LICENSE
USER aquatint
# Clients, and operators: keep the second off the public network.
EXPOSE 8080 9090
# Other nodes of a cluster, TCP and UDP: for them alone.
EXPOSE 7946/tcp 7946/udp
VOLUME /var/cache/aquatint
# The first opening of a large cache takes a while: its space is reserved.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["aquatint", "ready", "--admin", "http://127.0.0.1:9090"]
# It drains then; docker waits ten seconds for that unless it is told to wait longer.
STOPSIGNAL SIGTERM
ENTRYPOINT ["aquatint"]
CMD ["serve", "--config", "/etc/aquatint/aquatint.yaml", "--admin", "0.0.0.0:9090"]
