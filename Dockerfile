# builder -> resource -> tests -> resource. Name the stage `tests` to run them (`docker build --target tests .`): a builder that
# is not asked for a stage leaves it out. Without a target the result is the resource.
#
# Not built by ci/check yet. The base images can be replaced, by digest as well.
ARG builder_image=docker.io/library/rust:1.95-bookworm
ARG base_image=docker.io/library/debian:bookworm-slim

FROM ${builder_image} AS builder
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY src ./src
RUN cargo build --locked --release --bins

FROM ${base_image} AS resource
# libssl for libssh2; certificates for the public roots of S3 and Directors without a ca_cert.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=builder /src/target/release/lifeboat /usr/local/bin/lifeboat
COPY --from=builder /src/target/release/check /src/target/release/in /src/target/release/out /opt/resource/
COPY LICENSE /usr/share/doc/lifeboat/LICENSE

# The programs of the image, as Concourse and tasks start them.
FROM resource AS tests
RUN lifeboat version
RUN test "$(echo '{"source": {}}' | /opt/resource/check 2>&1 | grep -c 'foundation')" -ge 1
RUN ! /opt/resource/in < /dev/null && ! /opt/resource/out < /dev/null

FROM resource
