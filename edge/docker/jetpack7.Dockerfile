# JetPack 7 (Thor): Ubuntu 24.04, Python 3.12, TensorRT 10.13. Not built and not run by us.
# NVIDIA makes no L4T base for it: the device runs the images that are made for ARM servers.
# Build in the folder that holds edge/ and export/:
#   docker build -f edge/docker/jetpack7.Dockerfile -t hartx-edge .
#   docker run --rm -it --gpus all --device /dev/video0 -v "$PWD/bundles:/bundles" hartx-edge
FROM nvcr.io/nvidia/tensorrt:25.09-py3

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's Python module belongs to the image, so the environment must see it.
RUN python3 -m venv --system-site-packages /opt/hartx
ENV PATH=/opt/hartx/bin:$PATH
COPY edge/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt

WORKDIR /hartx
COPY edge edge
COPY export/__init__.py export/__init__.py
COPY export/tensorrt export/tensorrt
CMD ["python", "-m", "edge.doctor"]
