# syntax=docker/dockerfile:1

# One image for every app: they share their libraries and their dependencies, and one process can also be all of them.
#   docker build -t binnacle .
#   docker run binnacle                              every role in one process
#   docker run binnacle apps/gateway/dist/main.js    one role; also profiling, storage, cluster, health, ingest, proxy
# The listeners bind every address, so the image refuses to start until it is given BINNACLE_NODE_CLUSTER_SECRET and, where it is a
# gateway, BINNACLE_GATEWAY_API_KEY (or either with _FILE at the end).

FROM node:24-bookworm-slim AS manifests
WORKDIR /binnacle
COPY package.json package-lock.json .npmrc ./
COPY apps/cli/package.json apps/cli/
COPY apps/cluster/package.json apps/cluster/
COPY apps/gateway/package.json apps/gateway/
COPY apps/health/package.json apps/health/
COPY apps/ingest/package.json apps/ingest/
COPY apps/profiling/package.json apps/profiling/
COPY apps/proxy/package.json apps/proxy/
COPY apps/storage/package.json apps/storage/
COPY libs/cluster-state/package.json libs/cluster-state/
COPY libs/contracts/package.json libs/contracts/
COPY libs/node-kit/package.json libs/node-kit/
COPY libs/mysql-wire/package.json libs/mysql-wire/
COPY libs/object-store/package.json libs/object-store/
COPY libs/profiler/package.json libs/profiler/
COPY libs/testing/package.json libs/testing/

FROM manifests AS build
RUN --mount=type=cache,target=/root/.npm npm ci
COPY tsconfig.base.json ./
COPY apps apps
COPY libs libs
# The cli refers to every app and library, so this builds them all; what is left of each is its manifest and its dist folder.
RUN node node_modules/typescript7/bin/tsc -b apps/cli \
  && find apps libs -mindepth 2 -maxdepth 2 ! -name dist ! -name package.json -exec rm -rf {} + \
  && rm -rf libs/testing

FROM manifests AS dependencies
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev && rm -rf apps libs node_modules/@binnacle/testing

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends libjemalloc2 \
  && rm -rf /var/lib/apt/lists/* \
  # One path for every architecture.
  && ln -s "$(find /usr/lib -name libjemalloc.so.2)" /usr/local/lib/libjemalloc.so.2 \
  && mkdir /data && chown 1000:1000 /data
WORKDIR /binnacle
COPY --from=dependencies /binnacle ./
COPY --from=build /binnacle/apps apps
COPY --from=build /binnacle/libs libs
COPY LICENSE ./

# Heap profiling has to be compiled into the start of a process and costs nothing until it is switched on.
ENV NODE_ENV=production \
    LD_PRELOAD=/usr/local/lib/libjemalloc.so.2 \
    MALLOC_CONF=prof:true,prof_active:false,lg_prof_sample:16,dirty_decay_ms:500,background_thread:true \
    BINNACLE_DATA_DIR=/data \
    BINNACLE_NODE_HOST=0.0.0.0 \
    BINNACLE_NODE_PORT=7400 \
    BINNACLE_GATEWAY_HOST=0.0.0.0 \
    BINNACLE_PROXY_ADDR=0.0.0.0:6000

# The user `node` of the base image, by number so that Kubernetes can see that it is not root. It writes to /data and /tmp only.
USER 1000:1000

# Liveness and not readiness: a container that waits for Redis must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${Number(process.env.BINNACLE_NODE_PORT) + Number(process.env.BINNACLE_PORT_OFFSET ?? 0)}/livez`, { signal: AbortSignal.timeout(2500) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# The node is process 1 itself: it handles SIGTERM (drain, then exit 0) and leaves no orphans, so an init process in front of it would
# only be one more thing to pass signals on. Where rows are stored, its memory is limited: storageFlags of apps/cli/launch/preload.mjs.
ENTRYPOINT ["node", "--enable-source-maps"]
CMD ["--max-semi-space-size=8", "apps/cli/dist/main.js", "start"]
