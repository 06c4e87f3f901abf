"""Every command that a page, a notebook or a message names is one, with the options that are named."""

import re

import click
import pytest

from audioattn_lib.cli import audioattn

PLACES = ("audioattn_lib/**/*.py", "book/**/*.md", "notebooks/*.ipynb", "notebooks/sweeps/*.yml", "*.md", "Makefile")
CALL = re.compile(
    r"(?:`|^ *\"?|\\n|\$ |python -m )audioattn(?:_lib)? (?!import|\.\.\.|aa-)([a-z][a-z_-]*(?: [^\n\\`\"'#|&;()]*)?)",
    re.M,
)
OPTION = re.compile(r"--[a-z][a-z-]*|-[a-zA-Z]$")


def calls(root):
    """File and words of each call of the command line."""
    for pattern in PLACES:
        for path in sorted(root.glob(pattern)):
            for measured in CALL.finditer(path.read_text(encoding="utf-8")):
                yield path.relative_to(root), measured.group(1).split()


def resolve(words):
    """The command that words name, and its context; the word that is none is an error."""
    command, context = audioattn, click.Context(audioattn)
    for word in words:
        if not isinstance(command, click.Group):
            break
        result = command.get_command(context, word.rstrip(".,:\\"))
        assert result is not None, f"{word} is no command of {context.command_path}"
        command, context = result, click.Context(result, parent=context, info_name=word)
    return command, context


def test_commands_that_are_named_exist(root):
    wrong, count = [], 0
    for path, words in calls(root):
        if "{" in " ".join(words[:2]):  # a name is put in later
            continue
        count += 1
        try:
            command, context = resolve(words)
        except AssertionError as error:
            wrong.append(f"{path}: audioattn {' '.join(words)}: {error}")
            continue
        if command.context_settings.get("ignore_unknown_options") or isinstance(
            command, click.Group
        ):  # options of another program, or none
            continue
        names = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)} | {
            "--help",
            "--field",
        }  # any field
        named = {word.split("=")[0] for word in words if OPTION.match(word)}
        if named - names:
            wrong.append(f"{path}: audioattn {' '.join(words)}: no option {', '.join(sorted(named - names))}")
    assert count > 100
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("words", [["fly"], ["features", "fuze"]])
def test_a_command_that_is_none_is_found(words):
    with pytest.raises(AssertionError, match="is no command"):
        resolve(words)
