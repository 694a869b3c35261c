# docker build -t qc-stylegan .
# docker build -t qc-stylegan:cuda --build-arg BASE=pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime .
# docker run --rm -v "$PWD:/work" qc-stylegan restore --network=cats -i photos -o out
# docker run --rm --gpus=all --ipc=host -v "$PWD:/work" qc-stylegan:cuda train --outdir=runs/base --data=cats.zip
# The container's user is number 1000; for files of another one add --user "$(id -u):$(id -g)" -e HOME=/tmp to docker run.
ARG BASE=python:3.12-slim
FROM ${BASE}

# An image that has torch keeps its own. For a small one on CPUs, PIP_EXTRA_INDEX_URL may name an index of CPU builds.
ARG PIP_EXTRA_INDEX_URL=""
COPY . /src
RUN python -c "import torch" 2>/dev/null || pip install --no-cache-dir torch==2.13.0
RUN pip install --no-cache-dir "/src[web,export,heic]" && rm -r /src

RUN useradd --create-home person
USER person
WORKDIR /work
ENTRYPOINT ["qc-stylegan"]
CMD ["--help"]
