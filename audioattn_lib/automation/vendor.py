"""Packages of npm that the book brings along: of one version, checked, kept in the cache, and put beside the pages.

Book page: architecture.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from audioattn_lib.core.cache import cache_directory
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.core.files import explain, write_text, write_whole

__all__ = ["ONNXRUNTIME_WEB", "Package", "VendorError", "provide_runtime"]

_REGISTRY: Final = "https://registry.npmjs.org"
_SECONDS: Final = 60.0
_MOST_BYTES: Final = 1 << 26
_OWN_ADDRESS: Final = '(new URL("ort-wasm-simd-threaded.wasm",import.meta.url)).href'


class VendorError(AudioAttnError, RuntimeError):
    """Error of a package that cannot be had, or is not what it must be."""


@dataclass(frozen=True)
class Package:
    """A package of npm.

    Parameters
    ----------
    name, version
        As in the registry.
    integrity
        SHA-512 of the archive in base64, as npm writes it.

    Notes
    -----
    Book page: architecture.
    """

    name: str
    version: str
    integrity: str

    @property
    def address(self) -> str:
        """Address of the archive; the registry is that of ``NPM_CONFIG_REGISTRY`` where this is set."""
        registry = os.environ.get("NPM_CONFIG_REGISTRY") or _REGISTRY
        return f"{registry.rstrip('/')}/{self.name}/-/{self.name}-{self.version}.tgz"

    def archive(self) -> bytes:
        """The archive, out of the cache or of the registry.

        Raises
        ------
        VendorError
            When it cannot be had, or its hash is another.
        """
        cached = cache_directory() / "npm" / f"{self.name}-{self.version}.tgz"
        if cached.is_file():
            content = cached.read_bytes()
            if self._is_whole(content):
                return content
        try:
            with urllib.request.urlopen(self.address, timeout=_SECONDS) as answer:
                content = answer.read(_MOST_BYTES)
        except (OSError, ValueError) as error:
            raise VendorError(f"{self.address} cannot be fetched ({explain(error)})") from None
        if not self._is_whole(content):
            raise VendorError(f"{self.address}: its SHA-512 is not that of {self.name} {self.version}; it is not used")
        with write_whole(cached) as temporary:
            temporary.write_bytes(content)
        return content

    def read(self, names: Sequence[str]) -> list[bytes]:
        """Files of the archive.

        Raises
        ------
        VendorError
            When it cannot be had.
        """
        with tarfile.open(fileobj=io.BytesIO(self.archive()), mode="r:gz") as archive:
            files = [archive.extractfile(f"package/{name}") for name in names]
            return [file.read() for file in files if file is not None]

    def _is_whole(self, content: bytes) -> bool:
        return base64.b64encode(hashlib.sha512(content).digest()).decode() == self.integrity


ONNXRUNTIME_WEB = Package(
    "onnxruntime-web",
    "1.23.2",
    "T09JUtMn+CZLk3mFwqiH0lgQf+4S7+oYHHtk6uhaYAAJI95bTcKi5bOOZYwORXfS/RLZCjDDEXGWIuOCAFlEjg==",
)
"""MIT licence, Microsoft."""


def provide_runtime(html: str | Path, echo: Callable[[str], Any] = print) -> bool:
    """Put onnxruntime-web into a built book as one script, where it is not there yet; True when it is there.

    Without it the book is whole but for the page on the reader's own sound, which then says so.

    Parameters
    ----------
    html
        Folder of the built book.
    echo
        Told where it cannot be had.

    Notes
    -----
    A page from a disk may fetch nothing but scripts, so WebAssembly is text in one. Book page: architecture.
    """
    path = Path(html) / "_static" / "onnxruntime-web.js"
    head = f"// onnxruntime-web {ONNXRUNTIME_WEB.version}, MIT licence, Microsoft\n"
    if path.is_file():
        with open(path, encoding="utf-8") as file:
            if file.readline() == head:
                return True
    try:
        script, module, binary = ONNXRUNTIME_WEB.read(
            ["dist/ort.wasm.min.js", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"]
        )
    except VendorError as error:
        echo(f"The page on your own sound does without onnxruntime-web: {error}")
        missing = f"this book was built without {ONNXRUNTIME_WEB.name}; build it again with a network"
        write_text(path, f"document.currentScript.audioattnContent = {json.dumps({'missing': missing})};\n")
        return False
    content = {
        # a module out of memory has no address that another could be relative to; the binary is handed over
        "module": module.decode().replace(_OWN_ADDRESS, '""'),
        "wasm": base64.b64encode(gzip.compress(binary, mtime=0)).decode(),
    }
    code = script.decode().rpartition("//# sourceMappingURL")[0]
    write_text(path, f"{head}{code}\ndocument.currentScript.audioattnContent = {json.dumps(content)};\n")
    return True
