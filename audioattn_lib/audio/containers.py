"""Detection of truncated sound files: size in the header against size of the content.

A decoder reads a file that was cut off as a shorter sound and says nothing. The
sizes of WAV, RF64, W64, AIFF and AU stand in the header of their samples, those
of MP3 in its frames, and an Ogg stream marks its last page. FLAC says how many
samples it has, which :mod:`audioattn_lib.audio.io` compares with what was decoded.

Book page: ``data``.
"""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path
from typing import IO

__all__ = ["describe_cut", "sample_limit"]

_MOST_CHUNKS = 10_000
_STREAMED = 0xFFFFFFFF
"""Placeholder of an unknown size of 32 bits, as recorders write it."""
_LEAST_LIMIT = 1 << 28
_SAMPLES_A_BYTE = 256
_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")

_BITRATES = {  # kilobits a second by (version 1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = (44100, 48000, 32000)


def sample_limit(n_bytes: int) -> int:
    """Most samples, of all channels, that a file of ``n_bytes`` bytes may decode to.

    256 a byte, but at least 2^28, which are 1 GiB as float32. Speech at 6 kbit/s
    has 64 a byte; only a file that is made to fill the memory has more.
    """
    return max(_LEAST_LIMIT, _SAMPLES_A_BYTE * n_bytes)


def describe_cut(path: Path) -> str:
    """Describe the missing data of a truncated sound file; ``""`` if it is complete or its format states no size.

    Raises
    ------
    OSError
        When the file cannot be opened.

    Notes
    -----
    Book page: ``data``.
    """
    status = os.stat(path)
    return _describe_cut(os.fspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 16)
def _describe_cut(path: str, size: int, _changed: int) -> str:
    with open(path, "rb") as file:
        start = file.read(16)
        sizes: tuple[int, int] | None = None
        if start[:4] in (b"RIFF", b"RF64", b"RIFX", b"FORM"):
            sizes = _find_chunk(file, size, ">" if start[:4] in (b"RIFX", b"FORM") else "<")
        elif start[:4] == b"riff":
            sizes = _find_w64(file, size)
        elif start[:4] == b".snd":
            offset, promised = struct.unpack(">II", start[4:12]) if len(start) >= 12 else (0, _STREAMED)
            sizes = None if promised == _STREAMED else (promised, max(size - offset, 0))
        elif start[:4] == b"OggS":
            return _describe_cut_ogg(file, size)
        elif start[:3] == b"ID3" or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0):
            file.seek(0)
            return _describe_cut_mpeg(file.read())
    if sizes is None or sizes[0] <= sizes[1]:
        return ""
    return f"its header promises {sizes[0]} bytes of sound, the file has {sizes[1]} of them"


def _find_chunk(file: IO[bytes], size: int, order: str) -> tuple[int, int] | None:
    """Bytes of samples that are promised and that are there, in RIFF and AIFF; None where nothing is promised."""
    position, wide = 12, None
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = struct.unpack(f"{order}4sI", head)
        if name == b"ds64" and len(content := file.read(16)) == 16:
            wide = struct.unpack(f"{order}QQ", content)[1]
        if name in (b"data", b"SSND"):
            promised = wide if length == _STREAMED else length
            return None if promised is None else (promised, size - position - 8)
        position += 8 + length + length % 2
    return None


def _find_w64(file: IO[bytes], size: int) -> tuple[int, int] | None:
    position = 40
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(24)
        if len(head) < 24:
            return None
        length = struct.unpack("<Q", head[16:])[0]
        if head[:16] == _W64_DATA:
            return max(length - 24, 0), size - position - 24
        position += max(24, length + -length % 8)
        if position >= size:
            return None
    return None


def _describe_cut_ogg(file: IO[bytes], size: int) -> str:
    """The last page must be whole and be marked as the last of its stream."""
    tail = min(size, 2 * 65_307)  # the largest page, twice
    file.seek(size - tail)
    content = file.read(tail)
    offset = content.rfind(b"OggS")
    while offset >= 0:
        page = content[offset:]
        if len(page) >= 27 and page[4] == 0:
            segments = page[27 : 27 + page[26]]
            whole = len(segments) == page[26] and 27 + len(segments) + sum(segments) <= len(page)
            if not whole:
                return "its last page is cut off"
            return "" if page[5] & 4 else "its last page is missing"
        offset = content.rfind(b"OggS", 0, offset)
    return "its last page is missing"


def _describe_cut_mpeg(content: bytes) -> str:
    """Count the frames of MP3 and compare with the header of Xing, or look whether the last one is whole."""
    position, end = _skip_tags(content)
    promised: int | None = None
    frames, last_cut = 0, 0
    first = True
    while position + 4 <= end:
        length, xing = _measure_frame(content, position)
        if not length:
            frame = _find_frame(content, position + 1, end)
            if frame is None:
                break
            position = frame
            continue
        if first:
            first = False
            offset = position + xing
            if content[offset : offset + 4] in (b"Xing", b"Info") and len(content) >= offset + 12:
                flags, count = struct.unpack(">II", content[offset + 4 : offset + 12])
                if flags & 1:
                    promised, frames = count, -1  # this frame holds no sound
        if position + length > end:
            last_cut = position + length - end
            break
        position += length
        frames += 1
    # Some writers count the frame of the header too.
    if promised is not None and not promised - 1 <= frames <= promised + 1:
        return f"its header promises {promised} frames, the file has {max(frames, 0)}"
    if promised is None and last_cut:
        return f"its last frame lacks {last_cut} bytes"
    return ""


def _skip_tags(content: bytes) -> tuple[int, int]:
    """Find the byte range of the MP3 frames: after the ID3v2 tag, before the ID3v1 and APE tags."""
    start, end = 0, len(content)
    if content[:3] == b"ID3" and len(content) >= 10:
        length = functools.reduce(lambda sum_, byte: sum_ * 128 + (byte & 127), content[6:10], 0)
        start = 10 + length + (10 if content[5] & 16 else 0)
    if content[max(end - 128, 0) :][:3] == b"TAG" and end >= 128:
        end -= 128
    if end >= 32 and content[end - 32 : end - 24] == b"APETAGEX":
        length, flags = struct.unpack("<I4xI", content[end - 20 : end - 8])
        end = max(start, end - length - (32 if flags & 0x80000000 else 0))
    return start, end


def _measure_frame(content: bytes, position: int) -> tuple[int, int]:
    """Bytes of the frame at ``position``, 0 where there is none, and where in it the header of Xing would stand."""
    head = content[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0, 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate_index, bitrate_index = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 4 or rate_index == 3 or bitrate_index in (0, 15):
        return 0, 0
    is_first = version == 3
    rate = _MPEG_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _BITRATES[is_first, layer][bitrate_index]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4, 0
    samples = 144 if layer == 2 or is_first else 72
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if is_first else (9 if mono else 17)
    return samples * bits // rate + padding, 4 + side


def _find_frame(content: bytes, position: int, end: int) -> int | None:
    """The next place where a frame is followed by another one, or by the end."""
    while (position := content.find(b"\xff", position, end)) >= 0:
        length, _ = _measure_frame(content, position)
        if length and (position + length >= end or _measure_frame(content, position + length)[0]):
            return position
        position += 1
    return None
