"""Scripts and tables of a page lie beside it; packages of npm are of one version, checked and kept."""

import base64
import hashlib
import io
import tarfile

import pytest

from audioattn_lib.automation import vendor
from audioattn_lib.automation.beside import put_beside
from audioattn_lib.automation.vendor import Package, VendorError, provide_runtime
from audioattn_lib.display.deferred import csv_address, script_address


def test_scripts_and_tables_become_files_and_the_rest_stays(tmp_path):
    folder = tmp_path / "page_files"
    (folder / "old.js").parent.mkdir()
    (folder / "old.js").write_text("left by an earlier build")
    picture = "data:image/webp;base64,AAAA"
    markup = f'<a href="{csv_address("a,b")}"></a><p data-x="{script_address("one")}{script_address("one")}">{picture}'
    page = put_beside(markup, folder)
    assert picture in page
    assert "data:text" not in page
    table, script = sorted(folder.iterdir(), key=lambda path: path.suffix)
    assert table.read_text() == "a,b"
    assert script.read_text() == 'document.currentScript.audioattnContent = "one";\n'
    assert page.count(f"page_files/{script.name}") == 2
    assert put_beside("<p>nothing</p>", folder) == "<p>nothing</p>"
    assert not folder.exists()


def test_content_cannot_end_the_script_that_holds_it():
    content = "</script><script>"
    text = base64.b64decode(script_address(content).partition(",")[2]).decode()
    assert "</" not in text


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on this disk with one package, and an empty cache."""
    files = {"dist/a.js": b"code", "dist/b.wasm": b"\0asm"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    place = tmp_path / "registry" / "thing" / "-" / "thing-1.0.0.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(buffer.getvalue())
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", (tmp_path / "registry").as_uri())
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path / "cache"))
    return place


def test_a_package_is_checked_and_kept(registry):
    integrity = base64.b64encode(hashlib.sha512(registry.read_bytes()).digest()).decode()
    package = Package("thing", "1.0.0", integrity)
    assert package.read(["dist/a.js", "dist/b.wasm"]) == [b"code", b"\0asm"]
    registry.unlink()
    assert package.read(["dist/a.js"]) == [b"code"], "out of the cache"
    with pytest.raises(VendorError, match="cannot be fetched"):
        Package("thing", "2.0.0", integrity).archive()


def test_a_package_with_another_hash_is_not_used(registry):
    with pytest.raises(VendorError, match="its SHA-512 is not that of thing 1.0.0; it is not used"):
        Package("thing", "1.0.0", "AAAA").archive()


def test_a_book_without_the_runtime_says_so_and_is_built(registry, tmp_path):
    said = []
    assert not provide_runtime(tmp_path / "html", said.append)
    assert "does without onnxruntime-web" in said[0]
    script = (tmp_path / "html" / "_static" / "onnxruntime-web.js").read_text()
    assert "built without onnxruntime-web" in script
    assert vendor.ONNXRUNTIME_WEB.version not in script.partition("\n")[0]
