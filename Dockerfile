# The image of the pipelines' pods: the kit and what a step needs, without JupyterLab.
#
#   docker build --tag mlops-kit .
#
# The base is pinned by digest, so that a commit always gives the same image. To use another Debian
# with Python 3.11 or newer: docker build --build-arg BASE=…
ARG BASE=python:3.12.14-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579
FROM ${BASE} AS base
# Compile the standard library: Python's images lack its bytecode, and the pods' root is read-only.
RUN python3 -m compileall -q -f --invalidation-mode unchecked-hash -j 0 \
        -x '/(test|tests|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    || echo "A file of the standard library doesn't compile; the image works without it."

FROM base AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/kit
WORKDIR /src
# Install the locked dependencies first, so that a change to the code alone reuses this layer.
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
    # A read-only root can't compile at first use, and pip's .pyc files go stale when a copy rounds
    # a file's time: -f recompiles all of them, checked by content.
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash -j 0 /opt/kit/lib \
    # Drop the packages' tests.
    && find /opt/kit/lib -type d -name tests -path '*-packages/*/tests' -prune -exec rm -rf {} + \
    && rm -rf /opt/kit/lib/python3*/site-packages/pip /opt/kit/bin/pip*

FROM base
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mlops-kit" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# git reads the project's checkout and writes to the GitOps repository. The base's digest pins its
# version well enough.
# hadolint ignore=DL3008
RUN if ! command -v git; then apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/*; fi
COPY --from=builder /opt/kit /opt/kit
ENV PATH=/opt/kit/bin:$PATH \
    # The root is read-only, and everything is compiled.
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, because runAsNonRoot can't look up a name.
USER 1000:1000
WORKDIR /work
CMD ["python3", "-m", "mlops_kit", "--help"]
