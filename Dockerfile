# One image for every role: the subcommand picks it (serve, operator). Pods of DevServers get bastion-agent from it. scripts/deploy makes the same files without Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target scripts/image /rootfs

FROM scratch
COPY --from=build /rootfs /
USER 65532:65532
EXPOSE 2222 9090
ENTRYPOINT ["/bastion"]
CMD ["serve"]
