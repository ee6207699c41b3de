# docker build -t sdeflow . && docker run --rm -v "$PWD:/work" sdeflow demo
# Without an index of CPU builds (--build-arg TORCH_INDEX=...) torch brings gigabytes of CUDA.
FROM python:3.11-slim
ARG TORCH_INDEX
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY docs/theory.md docs/benchmarks.md /source/docs/
COPY sdeflow /source/sdeflow
RUN PIP_EXTRA_INDEX_URL=$TORCH_INDEX pip install --no-cache-dir -c /source/constraints.txt /source
WORKDIR /work
ENTRYPOINT ["sdeflow"]
