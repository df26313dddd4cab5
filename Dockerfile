# The image of the resource type, for check, get and put and for every task in tasks/.
#
# builder -> resource -> tests -> resource. A builder that is not asked for a stage leaves it out, so name `tests` to run them:
# `docker build --target tests .`; without a target the result is the resource. `ci/image` builds this file with buildah where
# neither Docker nor a registry can be had, and runs the integration tests against the programs in the result.
#
# Nothing here knows an architecture: `--platform linux/amd64,linux/arm64` builds both.
# The base images can be replaced, by digest as well.
ARG builder_image=docker.io/library/rust:1.95-bookworm
ARG base_image=docker.io/library/debian:bookworm-slim

# What the programs need at run time and nothing else: libssl for libssh2; certificates for the public roots of S3 and of
# Directors without a ca_cert.
FROM ${base_image} AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/*.log

FROM runtime AS packages
RUN . /etc/os-release && echo "$ID-$VERSION_ID" > /packages.tsv \
 && dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${source:Package}\n' >> /packages.tsv

# The toolchain is the image's; rust-toolchain.toml stays outside, or rustup would fetch another of the same release.
FROM ${builder_image} AS builder
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl-dev pkg-config python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# Named in Cargo.toml, not built.
COPY benches/index.rs ./benches/index.rs
COPY src ./src
# One program: under the names check, in and out it is the resource's scripts. Four would make the image half again as large.
# Names stay for backtraces, line tables go.
RUN cargo build --locked --release --bin lifeboat \
 && mkdir /out \
 && strip --strip-debug -o /out/lifeboat target/release/lifeboat
# The list of what is inside (SBOM), from what cargo linked and dpkg installed.
COPY ci/sbom ci/sbom
COPY --from=packages /packages.tsv /packages.tsv
RUN ci/sbom --packages /packages.tsv > /out/sbom.cdx.json

# Debian's shell stays in the image, for `fly intercept` into a build that hangs. Nothing of ours is started by it: Concourse
# executes /opt/resource/* and tasks execute lifeboat directly, so that an abort's SIGTERM arrives where it must.
# Root, as Concourse starts resources (before v8.3 it could not give its directories to anyone else); no privilege is needed.
FROM runtime AS resource
ARG version=0.1.0
ARG revision=unknown
ARG created=unknown
ARG base_image
LABEL org.opencontainers.image.title="lifeboat" \
      org.opencontainers.image.description="Concourse resource type and tasks: encrypted, streaming, incremental backups of Tanzu Operations Manager foundations, and their restore" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${version}" \
      org.opencontainers.image.revision="${revision}" \
      org.opencontainers.image.created="${created}" \
      org.opencontainers.image.base.name="${base_image}"
COPY --from=builder /out/lifeboat /usr/local/bin/lifeboat
RUN mkdir /opt/resource \
 && for script in check in out; do ln -s ../../usr/local/bin/lifeboat /opt/resource/$script; done
COPY --from=builder /out/sbom.cdx.json /usr/share/doc/lifeboat/sbom.cdx.json
COPY LICENSE CHANGELOG.md /usr/share/doc/lifeboat/
# Task files of the same release: a get of the image is all that a pipeline needs for its tasks.
COPY tasks /usr/share/lifeboat/tasks
USER root
CMD ["lifeboat", "--help"]

# The programs of the image as Concourse and tasks start them: a backup of a directory there and back.
FROM resource AS tests
ARG version
COPY tests/image/there-and-back /tests/
RUN /tests/there-and-back "${version}"

FROM resource
