# Both services in one image; docker-compose.yml says which command runs where.
FROM python:3.13.9-slim-trixie

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/revenue-stream

# The dependencies first: their layer stays while only our code changes.
COPY deploy/services.lock deploy/services.lock
RUN pip install --require-hashes -r deploy/services.lock

COPY . .
RUN pip install --no-deps --no-build-isolation --no-index .

# A new volume takes its owner from the directory it is mounted on.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin revenue \
    && install --directory --owner=revenue --mode=0700 /data /data/customers /data/accounts /data/archive
# By number: what runs it can see that it is not root.
USER 10001

ENV DATA_DIR=/data HOST=0.0.0.0
