# Two images: `api` (no torch; also migrates and reconciles) and `worker` (torch). Both run as user 10001.
#   docker build --target api .     docker build --target worker .

FROM python:3.11-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH
RUN groupadd --gid 10001 neftune \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/neftune --create-home --shell /usr/sbin/nologin neftune

# Packages first: a change of code leaves these layers alone.
FROM base AS packages-api
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY docker/requirements.py docker/requirements.py
# The code is found through a path file and not through PYTHONPATH, which a runner's bare environment lacks.
RUN python -m venv /venv \
    && python docker/requirements.py > requirements.txt \
    && pip install --no-cache-dir --progress-bar off -c constraints.txt -r requirements.txt \
    && echo /app > "$(python -c 'import site; print(site.getsitepackages()[0])')/neftune.pth"

FROM packages-api AS packages-worker
# Empty: the default index, whose torch is the CUDA build. A CPU image names an index of CPU wheels.
ARG TORCH_INDEX=
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --progress-bar off --no-deps --index-url "$TORCH_INDEX" -c constraints.txt torch; \
    fi \
    && python docker/requirements.py worker gpu > requirements.txt \
    && pip install --no-cache-dir --progress-bar off -c constraints.txt -r requirements.txt

# Only what it builds goes on: neither Node nor its packages are in an image.
FROM node:22-bookworm-slim AS dashboard
WORKDIR /build/api/dashboard
COPY api/dashboard/package.json api/dashboard/package-lock.json ./
RUN npm ci --no-audit --no-fund --include=dev --ignore-scripts
COPY tests/api/openapi.json /build/tests/api/openapi.json
COPY api/dashboard ./
RUN npm run build

FROM base AS app
WORKDIR /app
COPY docker/entrypoint docker/init_secrets.py docker/prepare.py docker/worker_health.py docker/
COPY migrations migrations
COPY neftune_core neftune_core
COPY neftune_store neftune_store
COPY worker worker
# The bundled base model, so that an installation without a hub can train.
COPY standalone/models /opt/neftune/models
# Volumes mounted on these take over their owner.
RUN install -d -o neftune -g neftune /var/lib/neftune/work /var/lib/neftune/cache /var/lib/neftune/spool
ENV MODELS_DIRS=/opt/neftune/models
ENTRYPOINT ["/app/docker/entrypoint"]

FROM app AS api
COPY --from=packages-api /venv /venv
COPY api api
COPY --from=dashboard /build/api/dashboard/dist api/dashboard/dist
USER 10001:10001
ENV HOST=0.0.0.0 PORT=8000 SPOOL_DIR=/var/lib/neftune/spool
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "api"]

FROM app AS worker
COPY --from=packages-worker /venv /venv
USER 10001:10001
ENV WORK_DIR=/var/lib/neftune/work MODEL_CACHE=/var/lib/neftune/cache OMP_WAIT_POLICY=PASSIVE
CMD ["python", "-m", "worker"]
