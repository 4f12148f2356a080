# One image for every role: the subcommand picks it (serve, operator). Pods of DevServers get bastion-agent from it. scripts/deploy makes the same files without Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static, so that the image needs nothing but the binary; without the embedded cluster, which is for development.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" && \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --no-default-features --bin bastion --bin bastion-agent --target "$target" && \
    mkdir -p /rootfs/etc/ssl/certs /rootfs/tmp && chmod 1777 /rootfs/tmp && \
    cp "target/$target/release/bastion" "target/$target/release/bastion-agent" /rootfs/ && \
    cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ && \
    echo 'bastion:x:65532:65532::/:/sbin/nologin' >/rootfs/etc/passwd && \
    echo 'bastion:x:65532:' >/rootfs/etc/group

FROM scratch
COPY --from=build /rootfs /
USER 65532:65532
EXPOSE 2222 9090
ENTRYPOINT ["/bastion"]
CMD ["serve"]
