# syntax=docker/dockerfile:1

ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS toolchain
WORKDIR /src

# The manifests, with empty sources: the same as long as no dependency changes.
FROM toolchain AS manifests
COPY . .
RUN mkdir /manifests \
    && find . \( -name Cargo.toml -o -name Cargo.lock -o -path '*/src/lib.rs' -o -path '*/src/main.rs' \
        -o -path '*/benches/*.rs' \) -exec cp --parents {} /manifests \; \
    && find /manifests -name lib.rs -exec truncate --size=0 {} + \
    && find /manifests \( -name main.rs -o -path '*/benches/*.rs' \) -exec sh -c 'echo "fn main() {}" >"$1"' _ {} \;

# All dependencies, built. This layer is taken from the cache as long as the manifests are the same.
FROM toolchain AS dependencies
COPY --from=manifests /manifests .
RUN cargo build --release --locked --package topline --bin topline

FROM dependencies AS build
COPY . .
# The stand-ins above are newer than the sources: without this they would be taken for up to date.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --release --locked --package topline --bin topline \
    && strip --strip-debug target/release/topline

# The C library, CA certificates, a user without rights; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="topline" \
      org.opencontainers.image.description="What sells best, where, right now: top lists from a stream of purchases" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/target/release/topline /usr/local/bin/topline
USER 65532:65532
# public, admin
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/topline"]
CMD ["serve", "--listen=0.0.0.0:8080", "--admin-listen=0.0.0.0:9090", "--data-dir=/var/lib/topline"]
