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


def test_a_player_becomes_a_widget_whose_state_python_reads_and_sets():
    pytest.importorskip("anywidget")
    import numpy as np

    from audioattn_lib.attention.record.record import FrameClock
    from audioattn_lib.display import player

    shown = player(np.zeros(16000), 16000, features=np.zeros((100, 8)), clock=FrameClock(0.01), title="Silence")
    widget = shown.widget()
    widget.selection = (0.2, 0.4)
    assert (widget.selection, widget.playhead, widget.mode, widget.layer) == ((0.2, 0.4), 0.0, "all", "attention")
    with pytest.raises(Exception, match="mode"):
        widget.mode = "backwards"
    assert widget._repr_mimebundle_() == {"text/html": shown.html(), "text/plain": repr(shown)}  # nobody watches
    widget.show(player(np.zeros(800), 16000, features=np.zeros((5, 8)), clock=FrameClock(0.01), title="Short"))
    assert widget.selection is None
    assert "Short" in widget.markup
