# The service as a container: `synthbank serve` on port 8080, or any other command of synthbank.
#   docker build -t synthbank .                                      CPU
#   docker build -t synthbank:cuda --build-arg DEVICE=cuda .         CUDA
# It runs as user 10001, writes below /bank and /tmp alone, and answers Vertex AI's contract (AIP_* variables).
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python -m venv /opt/synthbank
# torch first: the one heavy layer, kept as long as the constraints stay
COPY constraints.txt ./
RUN if [ "$DEVICE" = cpu ]; then export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu; fi; \
    /opt/synthbank/bin/pip install --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY zoo ./zoo
RUN /opt/synthbank/bin/pip install --constraint constraints.txt '.[postgres,gcp]' ./zoo

FROM python:${PYTHON}
COPY --from=build /opt/synthbank /opt/synthbank
RUN groupadd --gid 10001 synthbank \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /bank --shell /usr/sbin/nologin synthbank \
    && install -d -o synthbank -g synthbank /bank
ENV PATH=/opt/synthbank/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    SYNTHBANK_HOME=/bank
USER 10001:10001
WORKDIR /bank
VOLUME /bank
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('AIP_HTTP_PORT', '8080')}{os.environ.get('AIP_HEALTH_ROUTE', '/health')}\", timeout=4)"]
ENTRYPOINT ["synthbank"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
