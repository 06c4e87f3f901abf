"""The one law of all attacks: a result, or one of our errors that names the file, soon and without much memory.

``Attack`` runs trials and counts them. The short form runs with all other tests; the variable AUDIOATTN_ATTACK says
how many times as many trials are wanted (``make attack``).
"""

import os
import random
import resource
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audioattn_lib.core.errors import AudioAttnError

SEEDS = Path(__file__).parent / "seeds"
LONGER = float(os.environ.get("AUDIOATTN_ATTACK", "1"))
SECONDS = 20.0
"""Longest that one trial may take, on a machine that does other things too."""
MEMORY = 3 << 29
"""Bytes that one trial may allocate beyond what the process has: 1.5 GiB."""

TRIALS: Counter[tuple[str, str]] = Counter()
"""Trials by kind and end: result, error, failure."""


class TookTooLongError(BaseException):
    """No trial may catch it."""


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """A block that is stopped after some seconds, and that finds little memory."""

    def stop(*_: object) -> None:
        raise TookTooLongError(f"more than {seconds} s")

    main = threading.current_thread() is threading.main_thread()
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if main:
        handler = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    if pages is not None:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        if main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)


class Attack:
    """Trials of one kind.

    Parameters
    ----------
    kind
        What is attacked, for the count.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.failures: list[str] = []

    def trial(self, what: str, call: Callable[[], Any], *names: str) -> str:
        """Run ``call``; an error must be one of ours and hold all ``names``. Returns how it ended."""
        end, told = "result", ""
        started = time.perf_counter()
        try:
            with bounded():
                call()
        except AudioAttnError as error:
            end = "error"
            lacking = [name for name in names if name not in str(error)]
            if lacking:
                end, told = "failure", f"does not name {', '.join(lacking)}: {error}"
            elif len(str(error)) > 10_000:
                end, told = "failure", f"says {len(str(error))} characters"
        except (Exception, TookTooLongError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            end = "failure"
            told = f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
        if not told and time.perf_counter() - started > SECONDS:
            end, told = "failure", "took too long"
        if told:
            self.failures.append(f"{what}: {told}")
        TRIALS[self.kind, end] += 1
        return end

    def check(self) -> None:
        """Fail where a trial did."""
        shown = "\n".join(self.failures[:10])
        assert not self.failures, f"{len(self.failures)} failures\n{shown}"


def trials(count: int) -> int:
    """``count`` in the short form, more in the long one."""
    return max(1, round(count * LONGER))


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Damaged forms of ``content``, each with what makes it again."""
    for number in range(count):
        yield f"mutation {number} of {seed}", mutate(content, random.Random(f"{seed}/{number}"))


_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """One to four changes: cut, repeat, remove, flip a bit, put an extreme number, swap, insert noise."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        size = len(changed)
        # Headers are small and decide much.
        place = chance.randrange(max(1, min(size, 128) if chance.random() < 0.5 else size))
        length = min(size - place, chance.choice((1, 2, 4, 8, 16, 100, 1000)))
        kind = chance.randrange(7)
        if kind == 0:
            del changed[place:]
        elif kind == 1:
            changed[place:place] = changed[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3 and size:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 4:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice(_NUMBERS) & (1 << 8 * width) - 1
            changed[place : place + width] = number.to_bytes(width, chance.choice(("little", "big")))
        elif kind == 5:
            other = chance.randrange(size + 1)
            changed[other:other] = changed[place : place + length]
        else:
            changed[place : place + length] = chance.randbytes(length)
    return bytes(changed)


def copy_seed(name: str, place: Path) -> Path:
    """A copy of a seed, a file or a folder, that may be damaged."""
    target = place / name
    if (SEEDS / name).is_dir():
        shutil.copytree(SEEDS / name, target, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SEEDS / name, target)
    return target


def in_child(call: Callable[[], Any]) -> int:
    """Exit code of a forked process that does this; 0 when ``call`` returns."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        call()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
