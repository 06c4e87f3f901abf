"""Live controls appear only when a person is there."""

import pytest

from audioattn_lib.display import AttentionExplorer, explore, is_interactive


class Shown:
    def __init__(self, **values):
        self.values = values

    def html(self):
        return f"<p>{self.values}</p>"


def test_a_script_is_not_a_person():
    assert not is_interactive()


def test_without_a_person_the_first_picture_is_shown():
    shown = explore(Shown, width=(0.1, 1.0, 0.1, 0.4), clip=(0, 5, 1), name=["Softmax", "Sparsemax"])
    assert shown.values == {"width": 0.4, "clip": 0, "name": "Softmax"}


def test_controls_redraw():
    pytest.importorskip("ipywidgets")
    explorer = AttentionExplorer(Shown, width=(0.1, 1.0, 0.1), name=["Softmax", "Sparsemax"])
    explorer.controls["name"].value = "Sparsemax"
    explorer.controls["width"].value = 0.5
    assert explorer.picture.value == "<p>{'width': 0.5, 'name': 'Sparsemax'}</p>"


@pytest.mark.parametrize("control", [(), (0, 1), (0, 1, 2, 3, 4)])
def test_a_control_of_another_shape_is_named(control):
    with pytest.raises(ValueError, match="width"):
        explore(Shown, width=control)


@pytest.mark.notebook
def test_an_executed_notebook_is_not_a_person(tmp_path):
    import nbformat

    from audioattn_lib.automation.execution import execute

    code = "from audioattn_lib.display import is_interactive\nprint(is_interactive())"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    path = tmp_path / "n.ipynb"
    nbformat.write(notebook, path)
    execute(path, tmp_path / "out.ipynb", {})
    cells = [c for c in nbformat.read(tmp_path / "out.ipynb", 4).cells if c.source == code]
    assert [o.text for o in cells[0].outputs if "text" in o] == ["False\n"]
