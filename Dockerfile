# Two images: `docker build .` makes the service (`thumbq server`, `thumbq gateway`), and
# `docker build --target worker .` the one that renders (`thumbq worker`).

FROM python:3.11-slim-bookworm AS python
ENV PATH=/opt/thumbq/bin:$PATH PYTHONUNBUFFERED=1

FROM python AS build
WORKDIR /source
RUN python -m venv /opt/thumbq
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY server server
COPY gateway gateway
COPY clients/python clients/python

FROM build AS build-service
RUN pip install --no-cache-dir --constraint constraints.txt '.[server,gateway]'

FROM build AS build-worker
RUN pip install --no-cache-dir --constraint constraints.txt '.[render]'

FROM python AS run
RUN useradd --uid 10001 --create-home thumbq && install --directory --owner=thumbq --group=thumbq /thumbnails
ENTRYPOINT ["thumbq"]

FROM run AS worker
COPY --from=build-worker /opt/thumbq /opt/thumbq
RUN python -m thumbq.render.system_libraries --install && rm -rf /var/lib/apt/lists/*
USER 10001
CMD ["worker", "--help"]

FROM run AS service
COPY --from=build-service /opt/thumbq /opt/thumbq
USER 10001
EXPOSE 5009 50051
CMD ["server"]
