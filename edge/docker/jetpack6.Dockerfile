# JetPack 6 (Orin): Ubuntu 22.04, Python 3.10, TensorRT 10.3. Not built and not run by us.
# Build in the folder that holds edge/ and export/:
#   docker build -f edge/docker/jetpack6.Dockerfile -t hartx-edge .
#   docker run --rm -it --runtime nvidia --device /dev/video0 -v "$PWD/bundles:/bundles" hartx-edge
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*

# TensorRT's Python module belongs to the system, so the environment must see it.
RUN python3 -m venv --system-site-packages /opt/hartx
ENV PATH=/opt/hartx/bin:$PATH
COPY edge/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --upgrade pip && pip install --no-cache-dir -r /tmp/requirements.txt

WORKDIR /hartx
COPY edge edge
COPY export/__init__.py export/__init__.py
COPY export/tensorrt export/tensorrt
CMD ["python", "-m", "edge.doctor"]
