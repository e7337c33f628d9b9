# The image that the pipelines' pods run in: the kit and what a step needs, without JupyterLab.
#
#   docker build --tag mlops-kit .
#
# The base is named by digest, so that the same commit gives the same image. Any Debian with Python
# 3.11 or newer will do: docker build --build-arg BASE=…
ARG BASE=python:3.12.14-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579
FROM ${BASE} AS base
# Python's own images come without the standard library's bytecode, and the pods' root is read-only.
RUN python3 -m compileall -q -f --invalidation-mode unchecked-hash -j 0 \
        -x '/(test|tests|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    || echo "Some file of the standard library doesn't compile; it works without."

FROM base AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/kit
WORKDIR /src
# What the kit needs, by exact versions and hashes; a change of the code alone doesn't install it
# anew.
COPY lock lock
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement lock/build.txt \
    && /opt/kit/bin/pip install --require-hashes --requirement lock/base.txt
COPY pyproject.toml README.md LICENSE mlops-kit.toml ./
COPY mlops_kit mlops_kit
COPY notebooks notebooks
COPY workflows workflows
RUN /opt/build/bin/hatchling build --target wheel --directory /opt/wheel \
    && /opt/kit/bin/pip install --no-deps /opt/wheel/*.whl \
    # A read-only root can't compile at first use, and a .pyc that pip made is stale as soon as a
    # copy rounds a file's time: -f makes all anew, by content.
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash -j 0 /opt/kit/lib \
    # What only a developer of the packages runs.
    && find /opt/kit/lib -type d -name tests -path '*-packages/*/tests' -prune -exec rm -rf {} + \
    && rm -rf /opt/kit/lib/python3*/site-packages/pip /opt/kit/bin/pip*

FROM base
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlops-kit" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# git reads the project's checkout and writes to the GitOps repository. Its version is that of the
# base's Debian, which the digest pins well enough.
# hadolint ignore=DL3008
RUN if ! command -v git; then apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/*; fi
COPY --from=builder /opt/kit /opt/kit
ENV PATH=/opt/kit/bin:$PATH \
    # The root is read-only; there is nowhere to write bytecode to, nor a need.
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number, as runAsNonRoot can't look up a name.
USER 1000:1000
WORKDIR /work
CMD ["python3", "-m", "mlops_kit", "--help"]
