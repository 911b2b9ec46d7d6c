# syntax=docker/dockerfile:1
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true
# The dependencies alone, over empty sources: this layer is rebuilt only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it benches/store \
    && echo 'fn main() {}' > src/main.rs \
    && cp src/main.rs tests/it/main.rs && cp src/main.rs benches/store/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src tests benches
COPY . .
# Newer than what was built from the empty sources, whatever the times of the copied files are.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin orders

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/orders/
COPY --from=build /build/target/release/orders /usr/local/bin/orders
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="orders" \
      org.opencontainers.image.description="An event-sourced CQRS order-management microservice on PostgreSQL and NATS JetStream" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# No user of the image's own system; nothing is written but to standard output.
USER 10001:10001
# On an address that others reach the service starts only once ORDERS_AUTH is set: choose it where
# the container is run.
ENV ORDERS_LISTEN=0.0.0.0:8080 \
    ORDERS_LOG=json
EXPOSE 8080
# Liveness and not readiness: where PostgreSQL or NATS is down, a restart of this container would
# not help. Bash itself can speak TCP, so the image needs no client for this.
HEALTHCHECK --interval=10s --timeout=3s --start-period=40s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health/live HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r answer <&3 && [[ $answer == 'HTTP/1.1 200'* ]]"]
ENTRYPOINT ["orders"]
CMD ["serve"]
