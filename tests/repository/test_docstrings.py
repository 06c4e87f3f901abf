"""Docstrings begin with their subject, and describe parameters that exist."""

import ast
import re
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "audioattn_lib"
QUESTIONS = ("How", "What", "When", "Where", "Whether", "Which", "Who", "Why")


def documented():
    """Every module, class and function of the library with a docstring: its place, node and docstring."""
    for path in sorted(LIBRARY.rglob("*.py")):
        module = path.relative_to(LIBRARY).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{module}: {getattr(node, 'name', 'module')}", node, text


def described(text):
    """Names of the section Parameters."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\S.*$", section[1], re.MULTILINE) if section else []
    return {name.strip().lstrip("*") for line in lines for name in line.split(":")[0].split(",")}


def taken(node):
    """Parameters of a function; of a class its fields and those of its constructor, None where it inherits them."""
    if isinstance(node, ast.ClassDef):
        fields = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
        made = [
            item for item in node.body if isinstance(item, ast.FunctionDef) and item.name in ("__init__", "__new__")
        ]
        if node.bases and not made:
            return None
        return fields.union(*map(taken, made))
    parameters = node.args
    listed = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs, parameters.vararg, parameters.kwarg]
    return {each.arg for each in listed if each is not None}


def test_headlines_name_their_subject():
    questions = [place for place, _, text in documented() if re.match(rf"({'|'.join(QUESTIONS)})\b", text)]
    assert not questions, f"{questions}; begin with a verb or the object"


def test_described_parameters_exist():
    wrong = []
    for place, node, text in documented():
        if isinstance(node, ast.Module) or (parameters := taken(node)) is None:
            continue
        wrong += [f"{place}: {name}" for name in described(text) - parameters]
    assert not wrong, f"{wrong}; no such parameter"


def test_a_docstring_is_read():
    text = "Add.\n\nParameters\n----------\na, b\n    Numbers.\n*more\n    Others.\n\nReturns\n-------\nint\n    Sum."
    assert described(text) == {"a", "b", "more"}
