# JetPack 4.6 (the first Nano, TX2): Ubuntu 18.04, whose own Python 3.6 is too old. Not built and not run by us.
# Python 3.8 comes from Ubuntu's universe. TensorRT 8.2 has no module for it, so this runs on the CPU.
# Build in the folder that holds edge/:
#   docker build -f edge/docker/nano46.Dockerfile -t hartx-edge .
#   docker run --rm -it --device /dev/video0 -v "$PWD/bundles:/bundles" hartx-edge
FROM nvcr.io/nvidia/l4t-base:r32.7.1

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3.8 python3.8-venv \
    && rm -rf /var/lib/apt/lists/*

RUN python3.8 -m venv /opt/hartx
ENV PATH=/opt/hartx/bin:$PATH
COPY edge/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --upgrade pip && pip install --no-cache-dir -r /tmp/requirements.txt

WORKDIR /hartx
COPY edge edge
CMD ["python", "-m", "edge.doctor"]
