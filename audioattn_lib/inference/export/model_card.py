"""Model card of an exported model: training, scores beside the baseline, use, limits, licence, how to load it.

A card is a ``README.md`` in the form of the Hugging Face hub: metadata in YAML, then text.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from audioattn_lib import __version__
from audioattn_lib.data.corpora import SYNTHETIC
from audioattn_lib.training.model_folder import ModelDescription
from audioattn_lib.training.run_list import MODEL_FIELDS, Headline, baseline_of, chance_of, headline, model_name

if TYPE_CHECKING:
    from audioattn_lib.training.run_directory import Run

    from .onnx_files import OnnxFile

__all__ = ["card", "onnx_section", "results"]

_TITLES = {
    "urban_sound": "urban sounds",
    "sleepiness": "sleepiness of speech",
    "accents": "accents and speakers",
    "scenes_and_instruments": "scenes and instruments",
    "playback": "sounds, played back",
}
_ANSWERS = {
    "class": "one of {n} classes, with the probability of each",
    "labels": "any number of {n} labels, with the probability of each",
    "tasks": "one class of each of several tasks, {n} in all, with the probability of each",
    "score": "a number{unit}",
    "embedding": "an embedding",
}
_SETTINGS = ("fold", "protocol", "epochs", "batch_size", "learning_rate", "seed")
_ATTENTION_SCORES = {
    "pointing_game": "the moment of most attention lies in an event",
    "mass_inside_events": "share of the attention inside events",
}


def results(run: Run) -> dict[str, Headline]:
    """Main score of a run with its interval, and beside it those of its linear baseline and of chance where known.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    score = headline(run.metrics)
    if score is None:
        return {}
    headlines = {"this model": score}
    if (baseline := baseline_of(run)) is not None:
        headlines[baseline[0]] = baseline[1]
    predictions = getattr(run, "predictions", None)
    labels = [] if predictions is None or "label" not in predictions else list(predictions["label"].fillna(""))
    if (chance := chance_of(run.metrics, list(map(str, labels)))) is not None:
        headlines["chance"] = Headline(score.name, chance)
    return headlines


def card(
    description: ModelDescription,
    run: Run | None = None,
    *,
    data_licence: str = "",
    licence: str = "",
    onnx: OnnxFile | None = None,
) -> str:
    """Text of the card.

    Parameters
    ----------
    description
        Of the model.
    run
        That it comes from; without it the card has no scores, and says so.
    data_licence, licence
        Of the recordings that it was trained on, and of the weights.
    onnx
        The ONNX file beside it.

    Notes
    -----
    Metadata as the hub reads them: Mitchell et al., *Model cards for model reporting*, FAT* 2019, for what a card says.
    Book page: ``use_a_trained_model``.
    """
    headlines = results(run) if run is not None else {}
    metadata = yaml.safe_dump(_metadata(description, headlines, licence), sort_keys=False, allow_unicode=True)
    return f"---\n{metadata}---\n\n" + "\n".join(_text(description, run, headlines, data_licence, licence, onnx)) + "\n"


def onnx_section(onnx: OnnxFile) -> str:
    """Section of a card about the ONNX file beside it: inputs, outputs, operations, size, difference.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    unit = "samples" if onnx.inputs[0] == "waveforms" else "frames"
    return (
        f"## ONNX\n\n`{onnx.path.name}`: opset {onnx.opset}, {onnx.size / 1e6:.2f} MB. Inputs: "
        f"{', '.join(onnx.inputs)} (any number of clips and of {unit}; `lengths` counts those of each clip). Outputs: "
        f"{', '.join(onnx.outputs)}. In onnxruntime it differs from the model by at most {onnx.difference:.0e}, over "
        "lengths that it was not exported with."
    )


def _title(description: ModelDescription) -> str:
    subject = _TITLES.get(description.experiment, description.experiment)
    field = MODEL_FIELDS.get(description.experiment, "model")
    return f"{subject.capitalize()}: {field} {model_name(description.experiment, description.config)}"


def _corpus(description: ModelDescription) -> str:
    """Name of the corpus; of a folder its own name, since where it lies is nobody else's business."""
    return Path(str(description.config.get("data", "")).partition("?")[0]).name or "unknown"


def _metadata(description: ModelDescription, headlines: Mapping[str, Headline], licence: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "audioattn",
        "pipeline_tag": "audio-classification" if description.classes else "feature-extraction",
        "tags": ["audioattn", "audio", "attention", description.experiment.replace("_", "-")],
    }
    if licence:
        metadata["license"] = licence
    score = headlines.get("this model")
    if score is not None and math.isfinite(score.value):
        metadata["model-index"] = [
            {
                "name": _title(description),
                "results": [
                    {
                        "task": {"type": metadata["pipeline_tag"]},
                        "dataset": {
                            "name": _corpus(description) or "unknown",
                            "type": _corpus(description) or "unknown",
                        },
                        "metrics": [{"type": score.name, "value": round(score.value, 4), "name": score.name}],
                    }
                ],
            }
        ]
    return metadata


def _text(
    description: ModelDescription,
    run: Run | None,
    headlines: Mapping[str, Headline],
    data_licence: str,
    licence: str,
    onnx: OnnxFile | None,
) -> Iterator[str]:
    corpus = _corpus(description)
    synthetic = corpus in SYNTHETIC
    unit = f" in {description.unit}" if description.unit else ""
    answer = _ANSWERS[description.task].format(n=len(description.classes), unit=unit)
    yield f"# {_title(description)}"
    yield ""
    yield (
        f"Network of the chapter `{description.experiment}` of audioattn. It hears sound at {description.sample_rate} "
        f"Hz (other rates are converted), answers with {answer}, and says which moments it attended to."
    )
    if description.classes:
        yield ""
        yield "Classes: " + ", ".join(description.classes) + "."
    yield from ("", "## Load it", "", "```python", "import audioattn_lib", "")
    yield 'model = audioattn_lib.load(".")  # this folder; no corpus is needed'
    yield 'heard = model.listen("sound.wav")  # any format, rate, number of channels and length'
    yield "print(heard.prediction)"
    yield "heard  # in a notebook: the sound with what was attended to"
    yield "```"
    yield from ("", "## Training", "", "| setting | value |", "|---|---|")
    options = str(description.config.get("data", "")).partition("?")[2]
    yield f"| corpus | `{corpus}{'?' if options else ''}{options}` |"
    for name in _SETTINGS:
        if description.config.get(name) not in (None, ""):
            yield f"| {name} | `{description.config[name]}` |"
    yield f"| longest sound | {description.clip_seconds:g} s |"
    yield f"| front end | `{description.front_end}` |"
    yield f"| library | audioattn {description.library} |"
    if run is not None:
        packages = run.environment.get("packages", {})
        yield f"| run | `{description.run}`, torch {packages.get('torch', 'unknown')} |"
    yield from ("", "## Scores", "")
    yield from _scores(run, headlines)
    yield from ("", "## Intended use", "")
    yield (
        "Study of attention: which moments of a sound a network uses, and whether they are those of the event. The "
        "answer is meant for sounds like those of its corpus."
    )
    yield from ("", "## Limits", "")
    if synthetic:
        yield f"- It was trained on `{corpus}`, sounds that a program makes. Its scores say nothing about recordings."
    yield (
        "- It answers with a class that it knows, also to a sound of none of them."
        if description.classes
        else ("- Its range is that of its corpus.")
    )
    yield "- Probabilities are not calibrated."
    yield (
        f"- It was trained on sounds of up to {description.clip_seconds:g} s. A longer one is heard in windows of that "
        "length."
    )
    yield "- Attention shows what the network read, which is not why it answered."
    yield "- It is no basis for decisions about persons, their health or their safety."
    yield from ("", "## Licence", "")
    yield f"- Recordings: {data_licence or _licence_of(corpus, synthetic)}"
    yield f"- Weights: {licence or 'not stated; they follow from the recordings, whose licence may bind them.'}"
    yield "- audioattn: MIT."
    if onnx is not None:
        yield from ("", onnx_section(onnx))
    yield from ("", f"Written by audioattn {__version__}.")


def _scores(run: Run | None, headlines: Mapping[str, Headline]) -> Iterator[str]:
    if run is None or not headlines:
        yield "The run is not beside the model: no scores are known."
        return
    name = headlines["this model"].name
    yield f"Test clips of fold `{run.config.get('fold', 'test')}`: {run.metrics.get('n_clips', len(run.predictions))}."
    yield from ("", f"| | {name} | 95 % interval |", "|---|---|---|")
    for who, score in headlines.items():
        interval = f"{score.low:.3f} to {score.high:.3f}" if math.isfinite(score.low + score.high) else ""
        yield f"| {who} | {score.value:.3f} | {interval} |"
    evaluated = run.metrics.get("attention_evaluation")
    rows = [(title, evaluated[key]) for key, title in _ATTENTION_SCORES.items() if evaluated and key in evaluated]
    if rows:
        yield from ("", "| attention and events | value | 95 % interval | equal weights |", "|---|---|---|---|")
        for title, row in rows:
            numbers = [row.get(key) for key in ("value", "low", "high", "uniform")]
            if all(isinstance(number, float) for number in numbers):
                value, low, high, uniform = numbers
                yield f"| {title} | {value:.3f} | {low:.3f} to {high:.3f} | {uniform:.3f} |"


def _licence_of(corpus: str, synthetic: bool) -> str:
    if synthetic:
        return "none; audioattn makes these sounds, under its licence, MIT."
    return f"not known to audioattn; ask the owner of `{corpus}` before you pass the weights on."
