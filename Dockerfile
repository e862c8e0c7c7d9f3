# docker build -t interpbench . && docker run --rm interpbench run eap --case ioi
FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv && python -m venv --without-pip /opt/interpbench
ENV VIRTUAL_ENV=/opt/interpbench UV_NO_CACHE=1
WORKDIR /source
COPY constraints.txt .
# PyTorch first and alone: the build without CUDA, in a layer that a change of our code leaves as it is.
RUN uv pip install --torch-backend=cpu "$(grep '^torch==' constraints.txt)"
COPY . .
RUN uv pip install -c constraints.txt . ./plugins/eap ./plugins/acdc ./plugins/sp ./plugins/baselines

FROM python:3.11-slim
COPY --from=build /opt/interpbench /opt/interpbench
ENV PATH=/opt/interpbench/bin:$PATH
RUN useradd --create-home interpbench
USER interpbench
WORKDIR /home/interpbench
ENTRYPOINT ["interpbench"]
