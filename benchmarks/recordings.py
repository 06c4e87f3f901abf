"""Attention against what does not attend: many runs, one table in ``benchmarks/results/recordings/``.

    python -m benchmarks.recordings urbansound8k_frozen --data urbansound8k --preset frozen
    python -m benchmarks.recordings accents --chapter accents --data accents --preset default --folds first

With ``--from-nothing mean,softmax`` these poolings of urban sounds are trained on
the same folds without a pretrained encoder too, by the preset ``recordings``.

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from audioattn_lib.experiments import accents, playback, urban_sound
from audioattn_lib.experiments.common.studies.pooling_results import PoolingResults

from .committed_tables import fields_of, origin, parser_of, preset_of, versions

DIVISION = ("protocol", "train_folds", "valid_folds", "test_folds")
"""Fields that divide a corpus."""


@dataclass(frozen=True)
class Chapter:
    """A chapter of the book whose mechanisms are compared.

    Parameters
    ----------
    module
        Of the experiment.
    names
        What is compared, joined by commas.
    words
        Names in the table that mean something: ``control`` and ``attending``, as
        :class:`~audioattn_lib.experiments.common.studies.pooling_results.PoolingResults` reads them.
    has_folds
        False where a corpus has one test set alone.
    """

    module: Any
    names: str
    words: Mapping[str, str]
    has_folds: bool = True


_HEADS = "self_attention, multi_head, double_multi_head"
CHAPTERS = MappingProxyType(
    {
        "urban_sound": Chapter(urban_sound, ", ".join((*urban_sound.CONTROLS, *urban_sound.ATTENTIONS)), {}),
        "accents": Chapter(accents, f"mean, statistics, {_HEADS}", {"attending": _HEADS}),
        "playback": Chapter(
            playback, ", ".join(playback.COMPARED), {"control": "random", "attending": "slots"}, has_folds=False
        ),
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("recordings", __doc__, seeds=5)
    parser.add_argument("--chapter", choices=list(CHAPTERS), default="urban_sound", help="of the book (urban_sound)")
    parser.add_argument("--title", default="", help="of the table beside others, such as its length of clips (none)")
    parser.add_argument("--control", default="", help="what the others are compared with (that of the chapter)")
    parser.add_argument("--preset", default="recordings", help="preset of the chapter (recordings)")
    parser.add_argument("--poolings", default="", help="joined by commas; the control must be among them (all)")
    parser.add_argument("--from-nothing", default="", help="poolings to train without an encoder too (none)")
    parser.add_argument("--folds", default="all", help="test folds, joined by commas (all)")
    options = parser.parse_args(arguments)
    chapter, fields = CHAPTERS[options.chapter], fields_of(options)
    config = chapter.module.Config.preset(options.preset, data=options.data, **fields)
    where: dict[str, Any] = {"seeds": range(options.seeds), "root": options.runs}
    if chapter.has_folds:
        where["folds"] = options.folds
    study = chapter.module.study(config, options.poolings or chapter.names, **where)
    nothing = None
    if options.from_nothing:
        plain = urban_sound.Config.preset(
            "recordings", data=options.data, perturbations=False, **config.select(*DIVISION)
        )
        nothing = urban_sound.study(plain, options.from_nothing, **where)
    made_with = {
        **({"title": options.title} if options.title else {}),
        "corpus": chapter.module.prepare(config).describe(),
        "preset": options.preset,
        "settings": preset_of(options, fields),
        **({"from_nothing": "those of the preset recordings"} if nothing else {}),
        "folds": str(len({run.config.get("fold") for run in study.runs})),
        **chapter.words,
        **({"control": options.control} if options.control else {}),
        **origin(options),
        **versions(study.runs[-1]),
    }
    results = PoolingResults.of_study(study, made_with, nothing)
    results.write(options.output / f"{options.name}.csv")
    print(results.verdict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
