"""The authors' zips from their host.

The host has two traps: it leaves out an intermediate certificate, so that no client can verify it, and
it often ends the big file early without an error. So nothing is used before its size and its hash were
checked (or, where no hash is known, before the zip was read through), and a transfer is resumed.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from datasets.errors import DatasetError
from datasets.locking import locked

# The same files under two names of the host.
HOSTS = ("https://personal.utdallas.edu/", "https://www.utdallas.edu/")
CHECKSUMS = "checksums.tsv"

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60
_MAX_FRUITLESS_TRIES = 3  # tries in a row that bring nothing

_CERTIFICATE_HELP = """\
  The host is known to leave out an intermediate certificate (InCommon RSA Server CA 2). Fetch it once, from
  the address that the host's own certificate names, check it, and give it:
    openssl s_client -connect {host}:443 </dev/null | openssl x509 -noout -ext authorityInfoAccess
    curl -o intermediate.crt URL-AFTER-"CA Issuers"
    openssl x509 -inform der -in intermediate.crt -out intermediate.pem
    openssl verify intermediate.pem            # says OK if a certificate authority you trust signed it
    python -m datasets.utd_mhad --ca_bundle=intermediate.pem"""

_WAYS_ON = """\
  Ways to go on:
    1. give the recordings you have: --raw_dir (config.dataset.raw_dir), a folder with the folders or the zips
    2. download the zips by hand from {folder}
       into a folder, and give that
    3. use synthetic recordings: --config.dataset.name=synthetic_mhad"""


@dataclass(frozen=True)
class Archive:
    """One file of the authors.

    Attributes:
      url: where it is.
      size_bytes: its size, 0 where not known.
      sha256: its hash in hexadecimal, "" where not known.
      filename: what it is kept as.
    """

    url: str
    size_bytes: int
    sha256: str
    filename: str


class _Failed(Exception):
    """A transfer that cannot be brought to its end, in words."""


class _NotVerified(_Failed):
    """The host's certificate cannot be verified."""


def read_checksums(path: Path) -> list[Archive]:
    """Return the archives that a checksums file in TFDS's layout lists; none if there is no such file."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [
        Archive(url, int(size), sha256, filename) for url, size, sha256, filename in csv.reader(lines, delimiter="\t")
    ]


def authors_archives() -> list[Archive]:
    """Return what the authors publish."""
    return read_checksums(Path(__file__).with_name(CHECKSUMS))


def download(
    folder: Path,
    *,
    archives: Sequence[Archive] | None = None,
    ca_bundle: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Download the archives that are not there yet; return the folder, which then holds all of them.

    What was verified is noted in FOLDER/checksums.tsv and not read again. A partial transfer is kept as
    NAME.part and resumed by the next call.

    Args:
      folder: where the archives are kept.
      archives: what to download; the authors' if not given.
      ca_bundle: PEM file with certificates to trust beside the system's.
      progress: whether to draw progress bars.

    Raises:
      DatasetError: if one cannot be had or is not what it should be.
      OSError: if the disk is full.
    """
    archives = authors_archives() if archives is None else archives
    context = _ssl_context(ca_bundle)
    with locked(folder), _progress(progress) as bars:
        for archive in archives:
            path = folder / archive.filename
            if any(known.filename == path.name and known.size_bytes == _size(path) for known in _verified(folder)):
                continue
            if not path.exists():
                _fetch(archive, path, context, bars)
            _note_verified(folder, archive, _verify(archive, path))
    return folder


def _verified(folder: Path) -> list[Archive]:
    return read_checksums(folder / CHECKSUMS)


def _note_verified(folder: Path, archive: Archive, sha256: str) -> None:
    known = [other for other in _verified(folder) if other.filename != archive.filename]
    known.append(Archive(archive.url, _size(folder / archive.filename), sha256, archive.filename))
    lines = [f"{a.url}\t{a.size_bytes}\t{a.sha256}\t{a.filename}\n" for a in known]
    temporary = folder / (CHECKSUMS + ".part")
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(folder / CHECKSUMS)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _progress(progress: bool) -> Progress:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), disable=not progress)


def _ssl_context(ca_bundle: str | Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_bundle is not None:
        try:
            context.load_verify_locations(cafile=ca_bundle)
        except OSError as error:  # SSLError, for a file that is not PEM, is one
            raise DatasetError(f"ca_bundle {ca_bundle} cannot be read as a PEM file ({error})") from error
    return context


# --- transferring ---------------------------------------------------------------------------------


def _fetch(archive: Archive, path: Path, context: ssl.SSLContext, bars: Progress) -> None:
    """Bring an archive to `path`, from the first host that has it."""
    part = path.with_name(path.name + ".part")
    task = bars.add_task(archive.filename, total=archive.size_bytes or None)
    message = [f"cannot download {archive.filename}"]
    help_text = ""
    for url in _addresses(archive):
        try:
            _transfer(url, part, archive, context, lambda done, total: bars.update(task, completed=done, total=total))
            part.replace(path)
            return
        except _Failed as failed:
            message.append(f"  {url}: {failed}")
            if isinstance(failed, _NotVerified):
                help_text = _CERTIFICATE_HELP.format(host=urllib.parse.urlsplit(url).hostname)
    message += [help_text] if help_text else []
    message.append(_WAYS_ON.format(folder=archive.url.rpartition("/")[0] + "/"))
    raise DatasetError("\n".join(message))


def _addresses(archive: Archive) -> list[str]:
    """Return where an archive is found, the first choice first."""
    if not archive.url.startswith(HOSTS[0]):
        return [archive.url]
    return [host + archive.url.removeprefix(HOSTS[0]) for host in HOSTS]


def _transfer(
    url: str, part: Path, archive: Archive, context: ssl.SSLContext, report: Callable[[int, int | None], None]
) -> None:
    """Append to `part` until it is whole.

    Raises:
      _Failed: if the host cannot be reached or verified, refuses, or ends the transfer again and again.
    """
    fruitless, most = 0, _size(part)
    while fruitless < _MAX_FRUITLESS_TRIES:
        try:
            total = _transfer_once(url, part, archive, context, report)
            reason = f"the transfer ended after {_size(part)} of {total} bytes"
        except urllib.error.HTTPError as error:
            raise _Failed(f"the host answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            _raise_if_final(error)
            total, reason = None, str(error) or type(error).__name__
        if total == _size(part):
            return
        # Against the most there ever was: a host that begins anew each time would not be given up otherwise.
        fruitless = 0 if _size(part) > most else fruitless + 1
        most = max(most, _size(part))
        time.sleep(0.5 * fruitless)
    raise _Failed(reason)


def _transfer_once(
    url: str, part: Path, archive: Archive, context: ssl.SSLContext, report: Callable[[int, int | None], None]
) -> int:
    """Append what one request brings to `part`; return the size that the whole has."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Nothing is left to send: `part` is whole, or it belongs to another file.
        with error:
            total = _total_bytes(error.headers.get("Content-Range"))
        if total != have:
            part.unlink()
        return total
    with response:
        if response.status == 206:
            total, mode = _total_bytes(response.headers.get("Content-Range")), "ab"
        else:  # the host begins anew
            total, mode = int(response.headers.get("Content-Length") or archive.size_bytes), "wb"
        if archive.size_bytes and total != archive.size_bytes:
            raise _Failed(f"the host has {total} bytes, {archive.size_bytes} expected")
        with open(part, mode) as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                report(file.tell(), total)
    return total


def _total_bytes(content_range: str | None) -> int:
    """Return the size of the whole from "bytes 5-9/10" or "bytes */10"."""
    match = re.fullmatch(r"bytes .*/(\d+)", content_range or "")
    if match is None:
        raise _Failed(f"the host answered with the range {content_range!r}")
    return int(match.group(1))


def _raise_if_final(error: Exception) -> None:
    """Raise what trying again does not help against."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise _NotVerified(f"its certificate cannot be verified ({reason.verify_message})") from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise error
    if isinstance(error, urllib.error.URLError):  # no connection at all
        raise _Failed(str(reason)) from error


# --- verifying ------------------------------------------------------------------------------------


def _verify(archive: Archive, path: Path) -> str:
    """Return the sha256 of an archive after checking it; a wrong one is removed.

    Raises:
      DatasetError: if it is not what it should be.
    """
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if archive.sha256 and sha256 != archive.sha256:
        fault = f"expected sha256 {archive.sha256}, found {sha256}"
    elif not archive.sha256:
        fault = _fault_of_zip(path)
    else:
        fault = ""
    if fault:
        path.unlink()
        raise DatasetError(
            f"{path.name} from {archive.url} is not what the authors publish\n  {fault}\n"
            "  It was removed. Run again to download it anew."
        )
    return sha256


def _fault_of_zip(path: Path) -> str:
    """Return what is wrong with a zip, "" if every member agrees with its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises whatever its decoders raise
        return f"it is not a whole zip file ({error})"
    return f"its member {damaged} is damaged" if damaged else ""
