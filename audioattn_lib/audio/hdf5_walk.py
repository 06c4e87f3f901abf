"""A program that opens HDF5 files as a reader would, and may hang, crash or run out of memory in its place.

:mod:`audioattn_lib.audio.hdf5_guard` starts it by its path, so it imports
nothing of the library. It reads one JSON text a line: the path of a file and
the seconds that it may take. It answers with one: ``""``, or why the file must
not be opened. A file that takes longer ends the process, also inside the C
library.
"""

import contextlib
import faulthandler
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

MEMORY = 3 << 29
"""Bytes of address space beyond what the process has at its start: 1.5 GiB."""
_BLOCK = 1 << 22


def walk(h5py: Any, path: str) -> None:
    """Open every object that has a name in a file: its attributes, its index of chunks, and values that are decoded.

    Numbers that are stored as they are need no look: reading them is copying. What is damaged and said to be so is no
    matter here, for whoever reads the file is told the same.
    """
    with h5py.File(path, "r") as file:
        seen, waiting = set(), [file["/"]]
        while waiting:
            node = waiting.pop()
            with _damage_ignored():
                address = h5py.h5o.get_info(node.id).addr
                if address in seen:
                    continue
                seen.add(address)
                for name in node.attrs:
                    with _damage_ignored():
                        node.attrs.get(name)
                if isinstance(node, h5py.Dataset):
                    _read(node)
                elif isinstance(node, h5py.Group):
                    for name in node:
                        with _damage_ignored():
                            if isinstance(node.get(name, getlink=True), h5py.HardLink):
                                waiting.append(node[name])


def _read(array: Any) -> None:
    if array.external or array.is_virtual or array.shape is None:
        return  # values elsewhere are not read, those of nowhere are none
    if array.chunks is not None:
        array.id.get_num_chunks()  # which follows the whole index
    if array.dtype.kind in "iufbS" and not array.id.get_create_plist().get_nfilters():
        return
    if not array.shape:
        array[()]
        return
    row = max(1, array.dtype.itemsize * array.size // max(1, len(array)))
    chunk = array.chunks[0] if array.chunks else 1  # a part of one would be decoded several times
    rows = max(_BLOCK // row // chunk, 1) * chunk
    for first in range(0, len(array), rows):
        array[first : first + rows]


@contextlib.contextmanager
def _damage_ignored() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        # HDF5 says in words that there is no memory.
        message = str(error).lower()
        if any(words in message for words in ("memory allocation failed", "can't allocate", "unable to allocate")):
            raise MemoryError from error


def main() -> None:
    """Answer a line for each line of the input."""
    import h5py

    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        most = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + MEMORY
        if most[0] in (resource.RLIM_INFINITY, -1) or most[0] > limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, most[1]))
    except (ImportError, OSError, ValueError):
        pass  # a system without such limits, or one that counts otherwise
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        path, seconds = json.loads(line)
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
        answer = ""
        try:
            walk(h5py, path)
        except MemoryError:
            answer = f"takes more than {MEMORY >> 20} MiB of memory"
        except Exception:  # whoever opens the file is told
            answer = ""
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
