"""Laws of a notebook's identity: what a reader of the result could notice changes the key, nothing else does."""

import json

import pytest

from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.core.errors import ConfigError


def test_parameters_are_the_literals_of_the_tagged_cell(notebook):
    assert Notebook(notebook()).parameters == {
        "n": 3,
        "name": "x",
        "rate": 0.5,
        "flag": False,
        "chosen": ["a"],
        "limit": None,
    }


def test_parameters_that_are_no_literals_are_refused(notebook):
    with pytest.raises(ConfigError, match=r"cell 2: parameter n is range\(3\)"):
        _ = Notebook(notebook(parameters="n = range(3)")).parameters


@pytest.mark.parametrize(
    "given", [{"n": 4}, {"name": "y"}, {"rate": 1}, {"flag": True}, {"chosen": []}, {"limit": 3}, {"limit": "x"}, {}]
)
def test_values_of_the_same_kind_are_taken(notebook, given):
    assert Notebook(notebook()).checked(given) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"m": 1}, r"no parameter 'm'; it has n, name, rate, flag, chosen, limit"),
        ({"n": "4"}, r"n is '4'; it must be a whole number like its default 3"),
        ({"n": True}, r"must be a whole number"),
        ({"n": 0.5}, r"must be a whole number"),
        ({"flag": 1}, r"must be True or False"),
        ({"chosen": "a"}, r"must be a list"),
        ({"limit": object()}, r"limit is a object; allowed are text"),
        ({"chosen": [{1: 2}]}, r"allowed are text"),
    ],
)
def test_what_the_notebook_does_not_take_is_refused(notebook, given, message):
    with pytest.raises(ConfigError, match=message):
        Notebook(notebook()).checked(given)


def test_library_modules_are_those_that_the_code_imports(notebook):
    path = notebook(
        "%matplotlib inline\n!ls\nfrom audioattn_lib.attention.record import record\nimport numpy as np",
        "%%bash\nthis is no python",
        "from audioattn_lib.core.errors import ConfigError",
    )
    assert Notebook(path).library_modules == (
        "audioattn_lib.attention.record",
        "audioattn_lib.attention.record.record",
        "audioattn_lib.core.errors",
    )


def test_outputs_counts_and_times_are_no_part_of_the_identity(notebook):
    path = notebook("1 + 1")
    before = Notebook(path).key({})
    content = json.loads(path.read_text())
    content["metadata"]["papermill"] = {"duration": 3}
    for cell in content["cells"]:
        cell["metadata"]["papermill"] = {"start_time": "now"}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 7, "outputs": [{"output_type": "stream", "name": "stdout", "text": "2"}]}
    path.write_text(json.dumps(content))
    assert Notebook(path).key({}) == before


def test_code_prose_parameters_and_data_are_part_of_the_identity(notebook):
    path = notebook("1 + 1")
    keys = [Notebook(path).key({}), Notebook(path).key({"n": 4}), Notebook(notebook("1 + 2")).key({})]
    content = json.loads(path.read_text())
    content["cells"][0]["source"] = "# Another title"
    path.write_text(json.dumps(content))
    keys.append(Notebook(path).key({}))
    path = notebook("1 + 2", data_parameter="name")
    keys += [Notebook(path).key({}, data_hash=lambda name: name), Notebook(path).key({"name": "z"}, lambda name: name)]
    keys.append(Notebook(path).key({}, data_hash=lambda name: "other recordings"))
    assert len(set(keys)) == len(keys)


def test_data_is_hashed_by_the_value_in_use(notebook):
    asked = []
    book = Notebook(notebook(data_parameter="name"))
    book.key({}, lambda name: asked.append(name) or "")
    book.key({"name": "city"}, lambda name: asked.append(name) or "")
    assert asked == ["x", "city"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_parameter": "m"}, r"data_parameter is 'm', which is not among its parameters: n, name"),
        ({"datum": "n"}, r"audioattn\.datum is 'n'; known are data_parameter \(str\), shows_source \(bool\)"),
        ({"shows_source": "yes"}, r"shows_source is 'yes'"),
    ],
)
def test_what_it_says_about_itself_is_checked(notebook, options, message):
    with pytest.raises(ConfigError, match=message):
        Notebook(notebook(**options)).key({})


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("{", "not a notebook"), ("[]", "not a notebook of format 4")]
)
def test_what_is_no_notebook_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "n.ipynb").write_text(text)
    with pytest.raises(ConfigError, match=rf"n\.ipynb: {message}"):
        Notebook(tmp_path / "n.ipynb").key({})


def test_code_that_does_not_parse_is_named(notebook):
    with pytest.raises(ConfigError, match=r"small\.ipynb, cell 3, line 2: "):
        Notebook(notebook("x = 1\ny = = 2")).key({})
