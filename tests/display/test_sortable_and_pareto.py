"""Tables that are sorted in the page, and scores over cost."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from audioattn_lib import display
from audioattn_lib.automation.figure_sources import table_as_csv
from audioattn_lib.display.plots import pareto
from audioattn_lib.display.style import LIGHT

TABLE = pd.DataFrame(
    {
        "name": ["mean", "softmax", "linear"],
        "mechanism": ["Mean", "Soft<max>", "Linear"],
        "task": ["A", "A", "B"],
        "family": ["pooling", "map", "reference"],
        "score": [0.5, 0.75, np.nan],
        "low": [0.4, 0.7, np.nan],
        "high": [0.6, 0.8, np.nan],
        "gain": [np.nan, 0.25, -0.0001],
        "gain_low": [np.nan, 0.1, -0.1],
        "gain_high": [np.nan, 0.4, 0.1],
        "time": [1.0, 2.0, np.nan],
        "is_reference": [False, False, True],
    }
)
COLUMNS = (
    display.Column("mechanism", "Mechanism"),
    display.Column("score", "Accuracy", "percent", "low", "high"),
    display.Column("gain", "Gain", "points", "gain_low", "gain_high"),
    display.Column("time", "Time", "number"),
)


@pytest.fixture
def shown():
    return display.sortable_table(
        TABLE,
        COLUMNS,
        filters=("task",),
        first={"task": "A"},
        reliable=("gain_low", "gain_high"),
        references="is_reference",
    )


def test_cells_hold_numbers_with_intervals_and_values_to_sort_by(shown):
    page = BeautifulSoup(shown.html(), "html.parser")
    rows = page.select("tbody tr")
    assert [cell.get_text() for cell in rows[1].select("th, td")] == [
        "Soft<max>",
        "75.0 % 70.0 to 80.0",
        "+25.0 +10.0 to +40.0",
        "2",
    ]
    assert [cell["data-value"] for cell in rows[2].select("td")] == ["", "-0.0001", ""]
    assert rows[2].select("td")[1].get_text() == "+0.0 −10.0 to +10.0", "zero has no minus"
    assert [row.has_attr("data-reliable") for row in rows] == [False, True, False]
    assert [row["data-filter-0"] for row in rows] == ["A", "A", "B"]
    assert "aa-reference" in rows[2]["class"]


def test_without_a_script_it_is_a_plain_table_with_data_to_take(shown):
    page = BeautifulSoup(shown.markup, "html.parser")
    assert page.select_one(".aa-filters").has_attr("hidden")
    assert not page.select("tr[hidden]")
    lines = table_as_csv(str(page.select_one("table"))).splitlines()
    assert lines[0] == "Mechanism,Accuracy,Gain,Time"
    assert len(lines) == 1 + len(TABLE)


def test_every_control_has_a_name(shown):
    page = BeautifulSoup(shown.markup, "html.parser")
    assert all(control.find_parent("label") for control in page.select("input, select"))
    assert all(button.get_text() for button in page.select("button"))
    assert page.select_one("option[selected]").get_text() == "A"


def test_a_column_that_is_missing_is_named():
    with pytest.raises(ValueError, match="memory"):
        display.sortable_table(TABLE, [*COLUMNS, display.Column("memory", "Memory", "number")])


def test_a_front_is_told_in_words_and_drawn_for_a_phone():
    figure = display.plot_pareto(TABLE, "time", cost_label="Time")
    assert "Mean 50 % at 1" in figure.alt
    assert "Soft<max> 75 % at 2" in figure.alt
    assert set(figure.images) == set(figure.narrow) == {"light", "dark"}
    assert "Soft" not in display.plot_pareto(TABLE.head(1), "time", cost_label="Time").alt


def test_a_picture_without_a_number_says_why():
    assert (
        display.plot_pareto(TABLE.assign(time=np.nan), "time", cost_label="Time", missing="Unknown.").alt == "Unknown."
    )


def test_the_column_of_the_first_filter_is_the_one_that_hides():
    columns = (*COLUMNS, display.Column("family", "Family"), display.Column("task", "Task"))
    page = BeautifulSoup(display.sortable_table(TABLE, columns, filters=("task", "family")).html(), "html.parser")
    first, second = page.select("select")
    assert first["data-hides"] == "5"
    assert page.select("thead th")[5].get_text() == "Task"
    assert not second.has_attr("data-hides"), "references stay whatever their family: the column tells which they are"


def test_numbers_of_close_points_lie_apart_from_each_other_and_from_markers():
    from matplotlib.figure import Figure

    points = np.array([[1.0, 1.0], [1.02, 1.01], [1.04, 1.03], [1.0, 1.08], [2.0, 2.0], [0.0, 0.0]])
    figure = Figure(figsize=(3, 2))
    ax = figure.add_subplot()
    ax.plot(*points.T, "o", ms=4.5)
    figure.draw_without_rendering()
    pareto._number(ax, points[:4], points, LIGHT)
    places = [ax.transData.transform(text.xy) * 72 / figure.dpi + text.get_position() for text in ax.texts]
    markers = ax.transData.transform(points) * 72 / figure.dpi
    for number, place in enumerate(places):
        others = np.vstack([markers, *(each[None] for each in places[:number])])
        assert np.abs(others - place).max(axis=1).min() >= 5
        assert ax.bbox.contains(*place * figure.dpi / 72)
