"""A bundle is code: only the named bytes, and only entries that stay inside."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from orthostat.errors import BundleError, LimitError, StorageError
from orthostat.prediction.fetch import fetch_bundle

LINK_MODE = 0o120777 << 16


def pack(entries: dict[str, bytes], link: str | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = LINK_MODE if name == link else 0o100644 << 16
            archive.writestr(info, data, compression)
    return buffer.getvalue()


def bundle_of(model: bytes, **extra: bytes) -> bytes:
    return pack({"pipeline-config.json": b"{}", "model-bundle.zip": model, **extra})


def fetch(tmp_path: Path, data: bytes, sha256: str | None = None):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "given.zip"
    path.write_bytes(data)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return fetch_bundle(str(path), sha256, scratch)


def test_a_named_bundle_is_unpacked_with_its_model(tmp_path):
    data = bundle_of(pack({"modules/net/hubconf.py": b"code"}))
    bundle = fetch(tmp_path, data, hashlib.sha256(data).hexdigest().upper())
    assert (bundle.folder / "pipeline-config.json").read_bytes() == b"{}"
    assert (bundle.model_folder / "modules" / "net" / "hubconf.py").read_bytes() == b"code"


def test_another_digest_is_refused_before_the_bundle_is_opened(tmp_path):
    data = b"not even a zip file"
    found = hashlib.sha256(data).hexdigest()
    with pytest.raises(BundleError, match=rf"has sha256 {found}, named was {'ab' * 32}.*not opened"):
        fetch(tmp_path, data, "ab" * 32)


def test_without_a_digest_the_log_says_what_was_opened(tmp_path, caplog):
    data = bundle_of(pack({}))
    caplog.set_level("INFO")
    fetch(tmp_path, data)
    assert f"has sha256 {hashlib.sha256(data).hexdigest()}; no digest was given" in caplog.text


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py", "C:\\out.py", "..\\out.py"])
def test_an_entry_that_reaches_outside_is_refused(tmp_path, name):
    with pytest.raises(BundleError, match="could reach outside its folder"):
        fetch(tmp_path, pack({"pipeline-config.json": b"{}", name: b"x"}))
    assert not list(tmp_path.rglob("out.py"))


def test_an_entry_of_the_model_that_reaches_outside_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"model-bundle.zip in .* holds the entry '../out.py'"):
        fetch(tmp_path, bundle_of(pack({"../out.py": b"x"})))


def test_a_symbolic_link_is_refused(tmp_path):
    with pytest.raises(BundleError, match="entry 'link', which could reach outside"):
        fetch(tmp_path, pack({"link": b"/etc/passwd"}, link="link"))


def test_what_is_no_zip_file_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is no readable zip file"):
        fetch(tmp_path, b"text")


def test_a_zip_file_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"holds no pipeline-config.json"):
        fetch(tmp_path, pack({"readme.txt": b"x"}))


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"there is no file .*nothing.zip"):
        fetch_bundle(str(tmp_path / "nothing.zip"), None, tmp_path)


DEFLATED = pack({"a.bin": bytes(range(256)) * 40}, compression=zipfile.ZIP_DEFLATED)
ENTRY = b"PK\x01\x02\x14\x03\x14\x00"
"""How an entry of the directory begins; its flags follow."""


def damaged(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize(
    "data",
    [
        DEFLATED[:60] + b"\xff" * 60 + DEFLATED[120:],
        damaged(pack({"a.bin": b"x"}), ENTRY + b"\x00\x00", ENTRY + b"\x01\x00"),
        pack({"a" * 300: b"x"}),
        pack({"/".join("a" * 200 for _ in range(30)): b"x"}),
        damaged(pack({"axb": b"x"}), b"axb", b"a\0b"),
        pack({"a": b"x", "a/b": b"x"}),
        damaged(pack({"a.bin": b"x"}), b"\x14\x00\x00\x00\x00\x00", b"\x14\x00\x00\x00\x63\x00"),
    ],
    ids=["deflate", "encrypted", "long", "deep", "nul", "both", "method"],
)
def test_a_damaged_zip_file_is_refused_in_a_line(tmp_path, data):
    with pytest.raises(BundleError, match=r"(is no readable zip file|holds no pipeline-config)"):
        fetch(tmp_path, data)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    data = pack({"zeros": bytes(200_000_000)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(LimitError, match=r"unpacking multiplies the size of .* by 1,\d{3}, allowed are 50"):
        fetch(tmp_path, data)
    assert not (tmp_path / "scratch/bundle").exists()


def test_too_many_entries_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOSTAT_MAX_BUNDLE_ENTRIES", "3")
    with pytest.raises(LimitError, match=r"number of files in .* is 4, allowed are 3 \(ORTHOSTAT_MAX_BUNDLE"):
        fetch(tmp_path, pack(dict.fromkeys("abcd", b"x")))
    monkeypatch.setenv("ORTHOSTAT_MAX_BUNDLE_MB", "0.001")
    with pytest.raises(LimitError, match=r"megabytes of .* are .* raise the limit if you trust"):
        fetch(tmp_path / "other", pack({"a": b"x" * 2000}))
