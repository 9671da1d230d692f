# Two images: `docker build --target cpu .` and `docker build --target cuda .`
# The models are kept in the volume /models:  docker run -p 8000:8000 -v llmrt:/models llmrt

FROM python:3.11-bookworm AS build-cpu
# An index with torch's CPU wheels; without one, torch brings its CUDA libraries along.
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY Makefile pyproject.toml constraints.txt README.md LICENSE ./
COPY llmrt llmrt
COPY kernels kernels
COPY configs configs
RUN make image PREFIX=/opt/llmrt MODELS=/models

FROM python:3.11-bookworm AS build-cuda
WORKDIR /src
COPY Makefile pyproject.toml constraints.txt README.md LICENSE ./
COPY llmrt llmrt
COPY kernels kernels
COPY configs configs
RUN make image PREFIX=/opt/llmrt MODELS=/models

# The CUDA libraries come with torch; the driver comes from the host by the NVIDIA container runtime.
FROM python:3.11-bookworm AS cuda
COPY --from=build-cuda /opt/llmrt /opt/llmrt
COPY --from=build-cuda --chown=10001:10001 /models /models
ENV LLMRT_HOME=/models HF_HOME=/models/huggingface HOME=/models
USER 10001:10001
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["/opt/llmrt/bin/python", "-m", "llmrt.server.health_check"]
ENTRYPOINT ["/opt/llmrt/bin/llmrt"]
CMD ["serve", "smollm2-135m", "--host", "0.0.0.0"]

FROM python:3.11-slim-bookworm AS cpu
COPY --from=build-cpu /opt/llmrt /opt/llmrt
COPY --from=build-cpu --chown=10001:10001 /models /models
ENV LLMRT_HOME=/models HF_HOME=/models/huggingface HOME=/models
USER 10001:10001
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["/opt/llmrt/bin/python", "-m", "llmrt.server.health_check"]
ENTRYPOINT ["/opt/llmrt/bin/llmrt"]
CMD ["serve", "smollm2-135m", "--host", "0.0.0.0"]
