# Three images: `docker build --target server .`, and the same with gateway and worker. Server and gateway share their files.
# They run as user 10001, and on a read-only root file system with a tmpfs at /tmp. `make image` builds and tries them.

FROM debian:bookworm-slim AS python
ENV PATH=/opt/thumbq/bin:$PATH PYTHONUNBUFFERED=1
RUN apt-get update --quiet --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

# pip stays in this stage.
FROM python AS build
WORKDIR /source
RUN apt-get update --quiet --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/thumbq
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY server server
COPY gateway gateway
COPY clients/python clients/python

FROM build AS build-service
RUN /opt/pip/bin/pip --python /opt/thumbq/bin/python install --no-cache-dir --constraint constraints.txt '.[server,gateway,s3]'

FROM build AS build-worker
RUN /opt/pip/bin/pip --python /opt/thumbq/bin/python install --no-cache-dir --constraint constraints.txt '.[render,s3]'

FROM python AS run
RUN useradd --uid 10001 --create-home thumbq \
    && install --directory --owner=thumbq --group=thumbq /thumbnails /secrets
ENTRYPOINT ["thumbq"]

FROM run AS worker
COPY --from=build-worker /opt/thumbq /opt/thumbq
RUN python -m thumbq.render.system_libraries --install \
    && rm -rf /var/lib/apt/lists/*
ENV THUMBQ_MODELS=/models THUMBQ_THUMBNAIL_ROOT=/thumbnails
USER 10001
EXPOSE 9465
CMD ["worker", "--metrics-host=0.0.0.0", "--metrics-port=9465"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:9465/metrics', timeout=5)"]

FROM run AS service
COPY --from=build-service /opt/thumbq /opt/thumbq
USER 10001

FROM service AS gateway
EXPOSE 5009
CMD ["gateway"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:5009/readyz', timeout=5)"]

FROM service AS server
EXPOSE 50051 9464
CMD ["server"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["thumbq", "health"]
