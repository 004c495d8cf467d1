# syntax=docker/dockerfile:1
# The image of every Feedsight process: workers, topic creation, the demonstration.
#   docker build -t feedsight .
# Models are exported here, so that a worker starts in seconds and without torch.

FROM python:3.11-slim-bookworm AS build
# An index that has CPU wheels of torch (pytorch.org names it) saves gigabytes of download on amd64; torch is used
# in this stage only and does not reach the final image either way.
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PATH=/opt/feedsight/bin:$PATH \
    FEEDSIGHT_CACHE=/var/cache/feedsight
RUN python -m venv /opt/feedsight
WORKDIR /src
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt .
# Export and warm every model that the defaults use, on the examples.
RUN feedsight label --labels examples/storm/labels.yaml examples/storm/posts.jsonl > /dev/null \
    && feedsight match --mode compare --references examples/boards/references examples/boards/parts.jsonl > /dev/null \
    && feedsight match --mode similarity --references examples/boards/references examples/boards/parts.jsonl > /dev/null
# What exported is not needed again; that it is not is seen here and not by the user.
RUN pip uninstall --yes torch transformers sentence-transformers onnxscript onnx-ir \
    && feedsight label --labels examples/storm/labels.yaml examples/storm/posts.jsonl > /dev/null \
    && feedsight match --mode compare --references examples/boards/references examples/boards/parts.jsonl > /dev/null

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin feedsight
COPY --from=build /opt/feedsight /opt/feedsight
COPY --from=build --chown=10001:10001 /var/cache/feedsight /var/cache/feedsight
COPY examples /app/examples
ENV PATH=/opt/feedsight/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FEEDSIGHT_CACHE=/var/cache/feedsight
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["feedsight"]
CMD ["--help"]
