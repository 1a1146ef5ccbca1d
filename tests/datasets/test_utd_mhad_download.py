"""The download, against a host of our own that misbehaves as the authors' does, and worse."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import shutil
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from datasets import utd_mhad
from datasets.errors import DatasetError
from datasets.utd_mhad import download as module
from datasets.utd_mhad.download import Archive, authors_archives, download, read_checksums
from tests.datasets import utd_mhad_raw as raw


def zip_of(size_bytes: int = 100_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("noise.bin", np.random.default_rng(0).bytes(size_bytes))
    return buffer.getvalue()


CONTENT = zip_of()


@dataclass
class Host:
    """A host with one file, /RGB.zip unless told otherwise.

    Attributes:
      files: path to content.
      cut_after: bytes that a response brings before the connection ends; None: all.
      ranges: whether requests for a part are honoured.
      requests: the Range header of each request that came.
    """

    files: dict[str, bytes] = field(default_factory=lambda: {"/RGB.zip": CONTENT})
    cut_after: int | None = None
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)
    url: str = ""


def handler_of(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            host.requests.append(asked)
            content = host.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and host.ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = None if host.cut_after is None else start + host.cut_after
            self.wfile.write(content[start:stop])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def serve(host: Host, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(host))
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    host.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, no waiting before another try."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module.time, "sleep", lambda _: None)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    with serve(host) as server:
        yield host
        server.shutdown()


def archive_on(host: Host, **changes: object) -> Archive:
    known = Archive(f"{host.url}RGB.zip", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "RGB.zip")
    return dataclasses.replace(known, **changes)


def fetch(host: Host, folder: Path, archive: Archive | None = None, **options: object) -> Path:
    return download(folder, archives=[archive or archive_on(host)], progress=False, **options) / "RGB.zip"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_the_table_of_what_the_authors_publish() -> None:
    archives = {archive.filename: archive for archive in authors_archives()}
    assert set(archives) == {"RGB.zip", "Depth.zip", "Skeleton.zip", "Inertial.zip"}
    assert archives["RGB.zip"].size_bytes == 1_106_885_499
    for name in ("RGB.zip", "Inertial.zip"):
        assert len(bytes.fromhex(archives[name].sha256)) == 32
    assert all(archive.url.startswith(module.HOSTS[0]) for archive in archives.values())
    assert all(address.startswith("https://") for address in module.HOSTS)


def test_it_downloads_once(host: Host, tmp_path: Path) -> None:
    assert fetch(host, tmp_path).read_bytes() == CONTENT
    assert fetch(host, tmp_path).read_bytes() == CONTENT
    assert host.requests == [None]
    assert names(tmp_path) == {"RGB.zip", "checksums.tsv"}


def test_a_transfer_that_ends_early_is_resumed(host: Host, tmp_path: Path) -> None:
    host.cut_after = 30_000
    assert fetch(host, tmp_path).read_bytes() == CONTENT
    assert host.requests == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_the_next_call_resumes_too(host: Host, tmp_path: Path) -> None:
    (tmp_path / "RGB.zip.part").write_bytes(CONTENT[:70_000])
    assert fetch(host, tmp_path).read_bytes() == CONTENT
    assert host.requests == ["bytes=70000-"]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(host: Host, tmp_path: Path, size: int) -> None:
    (tmp_path / "RGB.zip.part").write_bytes((CONTENT + bytes(5))[:size])
    assert fetch(host, tmp_path).read_bytes() == CONTENT


def test_a_host_that_knows_no_ranges(host: Host, tmp_path: Path) -> None:
    host.ranges = False
    (tmp_path / "RGB.zip.part").write_bytes(b"something else")
    assert fetch(host, tmp_path).read_bytes() == CONTENT


def test_a_transfer_that_gets_nowhere_ends(host: Host, tmp_path: Path) -> None:
    host.cut_after = 0
    (tmp_path / "RGB.zip.part").write_bytes(CONTENT[:70_000])
    with pytest.raises(DatasetError, match=f"ended after 70000 of {len(CONTENT)} bytes"):
        fetch(host, tmp_path)
    assert (tmp_path / "RGB.zip.part").read_bytes() == CONTENT[:70_000]


def test_a_host_that_begins_anew_and_ends_early_is_given_up(host: Host, tmp_path: Path) -> None:
    host.ranges, host.cut_after = False, 60_000
    with pytest.raises(DatasetError, match=f"ended after 60000 of {len(CONTENT)} bytes"):
        fetch(host, tmp_path)
    assert len(host.requests) == 4


def test_wrong_bytes_are_refused_and_removed(host: Host, tmp_path: Path) -> None:
    host.files["/RGB.zip"] = CONTENT[:-1] + b"x"
    with pytest.raises(DatasetError, match=r"not what the authors publish\n  expected sha256 \w+, found \w+"):
        fetch(host, tmp_path)
    assert names(tmp_path) == set()


def test_a_wrong_size_is_refused(host: Host, tmp_path: Path) -> None:
    host.files["/RGB.zip"] = CONTENT + b"x"
    with pytest.raises(DatasetError, match=f"has {len(CONTENT) + 1} bytes, {len(CONTENT)} expected"):
        fetch(host, tmp_path)
    assert names(tmp_path) == set()


def test_where_no_hash_is_known_the_zip_is_tested(host: Host, tmp_path: Path) -> None:
    unknown = archive_on(host, size_bytes=0, sha256="")
    host.files["/RGB.zip"] = b"<html>We have moved</html>"
    with pytest.raises(DatasetError, match="not a whole zip file"):
        fetch(host, tmp_path, unknown)
    damaged = bytearray(CONTENT)
    damaged[5000] ^= 0xFF
    host.files["/RGB.zip"] = bytes(damaged)
    with pytest.raises(DatasetError, match=r"its member noise\.bin is damaged"):
        fetch(host, tmp_path, unknown)
    host.files["/RGB.zip"] = CONTENT
    assert fetch(host, tmp_path, unknown).read_bytes() == CONTENT
    [noted] = read_checksums(tmp_path / "checksums.tsv")
    assert noted == archive_on(host)


def test_a_zip_that_was_put_there_by_hand_is_checked(host: Host, tmp_path: Path) -> None:
    (tmp_path / "RGB.zip").write_bytes(CONTENT)
    fetch(host, tmp_path)
    assert host.requests == []
    (tmp_path / "RGB.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(DatasetError, match="expected sha256"):
        fetch(host, tmp_path)


def test_the_second_host_is_tried(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Host(files={})
    with serve(gone) as server:
        monkeypatch.setattr(module, "HOSTS", (gone.url, host.url))
        assert fetch(host, tmp_path, archive_on(gone)).read_bytes() == CONTENT
        server.shutdown()
    assert len(gone.requests) == 1


def test_offline_there_are_three_ways_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    with serve(host) as server:
        server.shutdown()
    monkeypatch.setattr(module, "authors_archives", lambda: [archive_on(host)])
    with pytest.raises(DatasetError) as caught:
        utd_mhad.prepare(None, tmp_path, progress=False)
    message = str(caught.value)
    assert "Connection refused" in message
    for way in ("--raw_dir", "by hand", "--config.dataset.name=synthetic_mhad"):
        assert way in message


def test_a_disk_that_is_full_is_not_tried_again(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, chunk: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "open", lambda *_: Full(), raising=False)
    monkeypatch.setattr(module, "authors_archives", lambda: [archive_on(host)])
    with pytest.raises(DatasetError, match=f"the disk of {tmp_path} is full"):
        utd_mhad.prepare(None, tmp_path, progress=False)
    assert len(host.requests) == 1


def test_prepare_downloads_where_no_raw_dir_is_given(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.write_raw(tmp_path / "raw", modalities=("skeleton",))
    path = shutil.make_archive(str(tmp_path / "Skeleton"), "zip", tmp_path / "raw", "Skeleton")
    host.files["/Skeleton.zip"] = Path(path).read_bytes()
    host.cut_after = 2000
    archive = Archive(f"{host.url}Skeleton.zip", 0, "", "Skeleton.zip")
    monkeypatch.setattr(module, "authors_archives", lambda: [archive])
    options = {"expected": raw.EXPECTED, "num_workers": 1, "progress": False}
    builder = utd_mhad.prepare(None, tmp_path / "data", **options)
    assert len(builder.as_data_source("s1+s2")) == 8
    requests = len(host.requests)
    assert utd_mhad.prepare(None, tmp_path / "data", **options).data_path == builder.data_path
    assert len(host.requests) == requests


# --- certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """Files of a chain of three; `leaf` has its key in it, `bundle` is what a client lacks."""

    leaf: Path
    bundle: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def sign(name: str, issuer: str, extensions: str) -> None:
        (folder / f"{name}.cnf").write_text(extensions)
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        openssl("req", *key, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        own = ("-signkey", f"{name}.key") if issuer == name else ("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key")
        serial = () if issuer == name else ("-CAcreateserial",)
        openssl("x509", "-req", "-in", f"{name}.csr", *own, *serial, "-out", f"{name}.pem", "-extfile", f"{name}.cnf")

    authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    sign("root", "root", authority)
    sign("intermediate", "root", authority)
    sign("leaf", "intermediate", "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    with open(folder / "leaf.pem", "a") as file:
        file.write((folder / "leaf.key").read_text())
    (folder / "bundle.pem").write_text((folder / "root.pem").read_text() + (folder / "intermediate.pem").read_text())
    return Certificates(folder / "leaf.pem", folder / "bundle.pem")


@pytest.fixture
def secure_host(certificates: Certificates) -> Iterator[Host]:
    """A host that sends its own certificate and no intermediate one, as the authors' does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.leaf)
    host = Host()
    with serve(host, context) as server:
        yield host
        server.shutdown()


def test_a_missing_certificate_is_explained(secure_host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unable to get local issuer certificate") as caught:
        fetch(secure_host, tmp_path)
    message = str(caught.value)
    assert "InCommon RSA Server CA 2" in message
    assert "--ca_bundle" in message
    assert "openssl" in message
    assert secure_host.requests == []


def test_with_the_certificate_it_downloads(secure_host: Host, certificates: Certificates, tmp_path: Path) -> None:
    assert fetch(secure_host, tmp_path, ca_bundle=certificates.bundle).read_bytes() == CONTENT


def test_a_bundle_that_is_none(host: Host, tmp_path: Path) -> None:
    for content in (None, b"not PEM"):
        bundle = tmp_path / "bundle.pem"
        if content:
            bundle.write_bytes(content)
        with pytest.raises(DatasetError, match="cannot be read as a PEM file"):
            fetch(host, tmp_path, ca_bundle=bundle)
