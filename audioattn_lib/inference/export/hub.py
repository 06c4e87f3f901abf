"""Export of a trained model: a folder that stands alone with its card, and the hub of Hugging Face.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioattn_lib.core.errors import AudioAttnError, ConfigError, RunError
from audioattn_lib.training.model_folder import DESCRIPTION, WEIGHTS, ModelFolder
from audioattn_lib.training.run_directory import Run, write_atomically

from ..model import Model, load
from .model_card import card, onnx_section

if TYPE_CHECKING:
    from .onnx_files import OnnxFile

__all__ = ["CARD", "ONNX", "Exported", "export_model", "from_pretrained", "push_to_hub"]

CARD = "README.md"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Parameters
    ----------
    path
        The folder, with ``model.json``, ``model.safetensors`` and ``README.md``.
    onnx
        Its ONNX file, if one was asked for.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """

    path: Path
    onnx: OnnxFile | None = None


def export_model(
    path: str | Path,
    folder: str | Path,
    *,
    onnx: bool = False,
    from_waveform: bool | None = None,
    data_licence: str = "",
    licence: str = "",
) -> Exported:
    """Write a copy of a model that stands alone, with a card, and an ONNX file if wanted.

    Parameters
    ----------
    path
        A run directory, its folder ``model``, or a copy of that.
    folder
        Where to write; created if it is not there. Other files in it are left alone.
    onnx
        Write ``model.onnx`` too.
    from_waveform
        See :func:`~audioattn_lib.inference.export.onnx_files.export_onnx`.
    data_licence, licence
        Of the recordings and of the weights, for the card.

    Raises
    ------
    RunError
        When there is no such model, or the folder cannot be written.
    ConfigError
        When the model has no ONNX form; the rest of the folder is then there.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    folder = Path(folder)
    model = load(path, "cpu")
    _require_folder(folder)
    run, kept = _run_of(Path(path)), Path(path) / CARD
    options: dict[str, Any] = {"data_licence": data_licence, "licence": licence}
    text = ""
    if run is None and kept.is_file() and not any(options.values()):
        text = kept.read_text(encoding="utf-8")  # an exported model again: its card has the scores
    ModelFolder.write(folder, model.description, model.network)
    _write(folder / CARD, text or card(model.description, run, **options))
    if not onnx:
        return Exported(folder)
    from .onnx_files import export_onnx

    file = export_onnx(model, folder / ONNX, from_waveform=from_waveform)
    if text:
        text = text.partition("\n## ONNX\n")[0].rstrip() + "\n\n" + onnx_section(file) + "\n"
    _write(folder / CARD, text or card(model.description, run, **options, onnx=file))
    return Exported(folder, file)


def push_to_hub(
    folder: str | Path, repo_id: str, *, private: bool = False, token: str | None = None, message: str = ""
) -> str:
    """Upload an exported folder to the hub of Hugging Face.

    Parameters
    ----------
    folder
        Of :func:`export_model`.
    repo_id
        ``owner/name``; created if it is not there.
    private
        Whether a new one can be seen by its owner alone.
    token
        To write with; by default that of ``hf auth login`` or ``HF_TOKEN``.
    message
        Of the commit.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    RunError
        When the folder is no exported model, or the hub cannot be reached or refuses; the folder stays as it is.
    ConfigError
        When ``huggingface_hub`` is not installed, or ``repo_id`` is no name.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    folder = Path(folder)
    missing = [name for name in (DESCRIPTION, WEIGHTS, CARD) if not (folder / name).is_file()]
    if missing:
        raise RunError(f"{folder}: has no {', '.join(missing)}; write it with audioattn export MODEL -o {folder}")
    ModelFolder.read(folder)
    with _hub(f"{folder} is complete on this machine: push it again when the hub can be reached", repo_id) as hub:
        interface = hub.HfApi(token=token)
        interface.create_repo(repo_id, private=private, exist_ok=True)
        commit = interface.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[DESCRIPTION, WEIGHTS, CARD, ONNX],
            commit_message=message or "Model of audioattn",
        )
    return str(commit.commit_url)


def from_pretrained(
    name: str | Path, *, revision: str | None = None, token: str | None = None, device: str | None = None
) -> Model:
    """Load a model from a folder, or from the hub of Hugging Face.

    Parameters
    ----------
    name
        A folder as for :func:`~audioattn_lib.inference.model.load`, or ``owner/name`` on the hub, of which a copy is
        kept and found again offline.
    revision
        Branch, tag or commit on the hub.
    token
        For private ones.
    device
        See :func:`~audioattn_lib.inference.model.load`.

    Raises
    ------
    RunError
        When there is neither, or the hub cannot be reached and no copy is kept.
    ConfigError
        When ``huggingface_hub`` is not installed, or the name is none of the hub.

    Notes
    -----
    Files on the hub are weights and JSON: nothing in them is run. Book page: ``use_a_trained_model``.
    """
    if Path(name).exists():
        return load(name, device)
    with _hub("give the folder of an exported model instead", str(name)) as hub:
        place = hub.snapshot_download(
            str(name), revision=revision, token=token, allow_patterns=[DESCRIPTION, WEIGHTS, CARD]
        )
    return load(place, device)


@contextmanager
def _hub(remedy: str, repo_id: str) -> Iterator[Any]:
    """The package, whose errors become one that says what to do."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise ConfigError(
            "huggingface_hub is not installed; install it with: pip install 'audioattn[export]'"
        ) from None
    try:
        yield huggingface_hub
    except HFValidationError as error:
        raise ConfigError(f"{repo_id!r} is neither a folder nor a name on the hub, owner/name: {error}") from None
    except AudioAttnError:
        raise
    except Exception as error:  # of its client, of the network, of the server: too many kinds to name
        lines = str(error).strip().splitlines()
        raise RunError(
            f"{repo_id}: the hub of Hugging Face cannot be used ({type(error).__name__}: {lines[0] if lines else ''}); "
            f"{remedy}"
        ) from error


def _run_of(path: Path) -> Run | None:
    """The run that a model folder lies in, where there is one with scores."""
    for place in (path, path.resolve().parent):
        if (place / "metrics.json").is_file():
            return Run.load(place.resolve())
    return None


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error


def _write(file: Path, text: str) -> None:
    with write_atomically(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
