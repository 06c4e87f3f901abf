"""Splits of a corpus into clips for training, selection of the epoch, and test.

A corpus says so itself, by a ``fold`` or a ``split`` column; one that says
nothing is divided into five folds that keep groups together. Test clips never
choose anything unless the published protocol is asked for by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import ConfigError, ManifestError
from .manifest import Manifest, parse_number

__all__ = [
    "Split",
    "check_groups",
    "choose_folds",
    "fold_names",
    "grouped_share",
    "leave_domain_out",
    "split_clips",
]

_VALIDATION = ("valid", "validation", "val", "dev", "devel", "development")
_FOLDS = 5
_SHARE = 0.2
_CELLS = 2_000_000
"""Largest table of groups and labels, some seconds of work, that clips are divided by."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the manifest for training, validation and test."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


def fold_names(manifest: Manifest) -> list[str]:
    """The test sets a corpus offers: its folds in order, or the splits whose name begins with ``test``."""
    assigned = _assignment(manifest)
    names = sorted(set(assigned), key=lambda name: (len(name), name))
    if "fold" in manifest.table or "split" not in manifest.table:
        return names
    tests = [name for name in names if name.startswith("test")]
    if not tests:
        raise ManifestError(
            f"{manifest.name}: no split is called test; column split holds {', '.join(names)}. "
            "Call one of them test, or use a column fold instead"
        )
    return tests


def split_clips(manifest: Manifest, fold: str, protocol: str = "nested", seed: int = 0) -> Split:
    """Divide the clips of a corpus for one test fold.

    Parameters
    ----------
    manifest
        The corpus.
    fold
        Name of the test fold, one of :func:`fold_names`, or ``"first"``.
    protocol
        ``"nested"``: validation is the fold after the test fold, cyclically (with fewer than three folds, or with
        splits of which none is for validation, a fifth of the training groups). ``"grouped"``: validation is always
        a fifth of the groups outside the test fold, and all other clips train. ``"published"``: validation *is* the
        test fold, so the best epoch is chosen on test clips and scores are optimistic.
    seed
        Chooses groups where the corpus does not.
    """
    if protocol not in ("nested", "grouped", "published"):
        raise ConfigError(f"protocol is {protocol!r}; it must be nested, grouped or published")
    names = fold_names(manifest)
    fold = names[0] if fold == "first" else str(fold)
    if fold not in names:
        raise ConfigError(f"fold is {fold!r}; {manifest.name} has {', '.join(names)}")
    assigned = np.array(_assignment(manifest))
    test = np.flatnonzero(assigned == fold)
    if "split" in manifest.table and "fold" not in manifest.table:
        rest = np.flatnonzero(assigned == "train")
        valid = np.flatnonzero(np.isin(assigned, _VALIDATION))
    else:
        following = names[(names.index(fold) + 1) % len(names)]
        valid = np.flatnonzero(assigned == following) if len(names) > 2 else np.array([], dtype=np.int64)
        rest = np.setdiff1d(np.arange(len(assigned)), test)
    if protocol == "published":
        valid = test
    elif protocol == "grouped" or not len(valid):
        rest = np.union1d(rest, valid)
        valid = grouped_share(manifest, rest, seed)
    train = np.setdiff1d(rest, valid)
    for name, rows in (("training", train), ("validation", valid), ("test", test)):
        if not len(rows):
            raise ManifestError(f"{manifest.name}: no {name} clip is left with test fold {fold!r}; check its columns")
    return Split(train, valid, test)


def choose_folds(
    manifest: Manifest, train: Sequence[str] = (), valid: Sequence[str] = (), test: Sequence[str] = (), seed: int = 0
) -> Split:
    """Divide the clips of a corpus by lists of folds, or of splits.

    Parameters
    ----------
    manifest
        The corpus.
    train
        Folds to train on; all that are in neither of the other lists where it is empty.
    valid
        Folds that choose the epoch; where it is empty, the fold after the last tested one that is in no other list,
        cyclically, or a fifth of the training groups where there is none. They may be tested ones, as in published
        protocols: the best epoch is then chosen on test clips.
    test
        Folds to test on, at least one.
    seed
        Chooses groups where no fold is left for validation.

    Raises
    ------
    ConfigError
        When there is no such fold, none is tested, or one trains and is in another list too.

    Notes
    -----
    Book page: ``data``.
    """
    assigned = np.array(_assignment(manifest))
    names = sorted(set(assigned), key=lambda name: (len(name), name))
    arguments = {"train_folds": train, "valid_folds": valid, "test_folds": test}
    lists = {field: [_name(name) for name in folds] for field, folds in arguments.items()}
    for field, folds in lists.items():
        unknown = [name for name in folds if name not in names]
        if unknown:
            raise ConfigError(f"{field} has {', '.join(unknown)}; {manifest.name} has {', '.join(names)}")
    training, validation, tested = lists.values()
    if not tested:
        raise ConfigError(f"test_folds is empty; name at least one of {', '.join(names)}")
    for field, folds in (("valid_folds", validation), ("test_folds", tested)):
        shared = [name for name in training if name in folds]
        if shared:
            raise ConfigError(
                f"train_folds and {field} share {', '.join(shared)}; what trains can neither choose nor test"
            )
    if not validation:
        last = names.index(tested[-1])
        after = [name for name in (*names[last + 1 :], *names[:last]) if name not in (*training, *tested)]
        validation = after[:1] if training or len(after) > 1 else []
    training = training or [name for name in names if name not in (*validation, *tested)]
    rest, chooses, test_rows = (np.flatnonzero(np.isin(assigned, folds)) for folds in (training, validation, tested))
    if not len(chooses) and len(rest):
        chooses = grouped_share(manifest, rest, seed)
    split = Split(np.setdiff1d(rest, chooses), chooses, test_rows)
    if not len(split.train):
        raise ConfigError(f"no fold of {manifest.name} is left to train on; it has {', '.join(names)}")
    return split


def leave_domain_out(manifest: Manifest, domain: str, seed: int = 0) -> Split:
    """Test on one domain, train on the others, validate on a fifth of their groups.

    Clips of a group that also has clips in the tested domain (one place recorded by
    several devices) are in none of the three but the test. Columns ``fold``
    and ``split`` are not looked at.

    Raises
    ------
    ManifestError
        When the corpus has no column ``domain``, not that domain, or no other.

    Notes
    -----
    Book page: ``data``.
    """
    if "domain" not in manifest.table:
        raise ManifestError(f"{manifest.name}: no column domain; leaving a domain out needs one (device, source, city)")
    domains = np.asarray(manifest.table["domain"], dtype=np.str_)
    if domain not in domains:
        raise ConfigError(f"domain is {domain!r}; {manifest.name} has {', '.join(sorted(set(domains)))}")
    test = np.flatnonzero(domains == domain)
    rest = np.flatnonzero(domains != domain)
    if "group" in manifest.table:
        groups = np.asarray(manifest.table["group"], dtype=np.str_)
        rest = rest[~np.isin(groups[rest], groups[test])]
    if not len(rest):
        raise ManifestError(f"{manifest.name}: nothing is left to train on without domain {domain!r}")
    valid = grouped_share(manifest, rest, seed)
    return Split(np.setdiff1d(rest, valid), valid, test)


def grouped_share(manifest: Manifest, rows: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """A fifth of some rows: groups stay together, classes are spread evenly.

    Notes
    -----
    Book page: ``data``.
    """
    parts = _divide(manifest, rows, round(1 / _SHARE), seed)
    return rows[parts == 0]


def check_groups(manifest: Manifest) -> None:
    """Raise unless every class has clips of at least two groups, so that one can be tested on another.

    Raises
    ------
    ManifestError
        Naming the classes that one speaker (or recording) alone has.

    Notes
    -----
    Book page: ``data``.
    """
    if "group" not in manifest.table:
        return
    counts = manifest.table.groupby("label")["group"].nunique()
    alone = [
        f"{name} ({manifest.table.loc[manifest.table['label'] == name, 'group'].iloc[0]})"
        for name in counts.index[counts < 2]
    ]
    if alone:
        raise ManifestError(
            f"{manifest.name}: one group alone has class {', '.join(alone[:5])}, so a network that knows the group "
            "knows the class; leave the class out, or let groups stand on both sides (a closed set) and say so"
        )


def _assignment(manifest: Manifest) -> list[str]:
    for column in ("fold", "split"):
        if column in manifest.table:
            values = manifest.table[column]
            return values.map({value: _name(value) for value in values.unique()}).tolist()
    return [str(number + 1) for number in _divide(manifest, np.arange(len(manifest.table)), _FOLDS, seed=0)]


def _name(value: str) -> str:
    """``1``, ``1.0`` and ``01`` are one fold."""
    number = parse_number(value)
    return str(int(number)) if number is not None and number.is_integer() else value


def _divide(manifest: Manifest, rows: NDArray[np.int64], n_parts: int, seed: int) -> NDArray[np.int64]:
    """Number of the part of each row: groups stay together, classes spread evenly.

    A table of all groups and labels spreads them; where it would be too large, groups are drawn at random, which
    spreads the classes of so many well enough.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    table = manifest.table.iloc[rows]
    groups = table["group"].astype(str) if "group" in table else table["file_name"]
    n_parts = min(n_parts, groups.nunique())
    if n_parts < 2:
        raise ManifestError(f"{manifest.name}: {len(rows)} clips in one group cannot be divided; add a fold column")
    labels = table["label"].astype(str)
    # Combinations of labels too rare to spread are one class here.
    labels = labels.where(labels.map(labels.value_counts()) >= n_parts, "rare")
    if 0 < (labels == "rare").sum() < n_parts and labels.nunique() > 1:  # too few to spread even together
        labels[labels == "rare"] = labels[labels != "rare"].mode()[0]
    if groups.nunique() * labels.nunique() > _CELLS:
        codes, names = pd.factorize(groups)
        return np.random.default_rng(seed).permutation(len(names))[codes] % n_parts
    divider = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    parts = np.zeros(len(rows), dtype=np.int64)
    if labels.value_counts().max() < n_parts:
        labels[:] = "rare"
    for number, (_, members) in enumerate(divider.split(np.zeros(len(rows)), labels, groups)):
        parts[members] = number
    return parts
