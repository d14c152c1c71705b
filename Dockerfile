# The environment of `make test`, on hosts with NVIDIA GPUs and without; docs/docker.md says how to use it.
# PyTorch's wheels bring CUDA's libraries, so a plain Python image is enough; the driver comes from the host.
FROM python:3.11-slim

# torch.compile needs a C++ compiler. Versions are Debian's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*

# Who writes into mounted folders: --build-arg UID="$(id -u)"
ARG UID=1000
RUN useradd --create-home --non-unique --uid "$UID" frih \
    && install --directory --owner=frih --group=frih /frih /frih/runs /frih/outputs
USER $UID
WORKDIR /frih

# The Makefile's commands in two steps, so that a change of the code does not download everything again.
COPY --chown=frih:frih requirements.lock ./
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY --chown=frih:frih . ./
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && touch .venv/.installed
ENV PATH=/frih/.venv/bin:$PATH

CMD ["make", "test"]
