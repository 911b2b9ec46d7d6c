FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true
# `make image-steps` builds with the profile dev, to save time.
ARG PROFILE=release
COPY . .
# The cache mounts keep the compiled dependencies between two builds. A layer of dependencies over
# stub sources would do the same, but the stubs must then follow each change of the manifest.
# The main sources are touched because cargo compares times: a source that changed may still be
# older than the last build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    touch src/lib.rs src/main.rs \
    && cargo install --locked --profile "$PROFILE" --path . --root out

FROM debian:12.15-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/orders/
COPY --from=build /build/out/bin/orders /usr/local/bin/orders
LABEL org.opencontainers.image.title="orders" \
      org.opencontainers.image.description="An event-sourced CQRS order service on PostgreSQL and NATS JetStream" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# A user that has no name and no files. The service writes only to standard output.
USER 10001:10001
# The service does not start on this address until ORDERS_AUTH is set: set it where the container
# is run.
ENV ORDERS_LISTEN=0.0.0.0:8080 \
    ORDERS_LOG=json
EXPOSE 8080
# Checks liveness, not readiness: while PostgreSQL or NATS is down, a restart of this container does
# not help. Bash speaks TCP itself, so that the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=40s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health/live HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r answer <&3 && [[ $answer == 'HTTP/1.1 200'* ]]"]
ENTRYPOINT ["orders"]
CMD ["serve"]
