"""The data of a figure is what it draws, point by point, with the names of its axes."""

import csv
import io

import numpy as np
import pandas as pd

from audioattn_lib.display import plot_confusion, plot_lines, plot_results


def rows(figure):
    return list(csv.DictReader(io.StringIO(figure.data)))


def test_points_of_lines_have_their_name():
    x, y = np.array([0.5, 1.0, 2.0]), np.array([3.0, -1.0, 0.25])
    figure = plot_lines({"one": (x, y), "two": (x, 2 * y)}, x_label="x", y_label="y", alt="Two lines.")
    result = rows(figure)
    assert [(row["series"], float(row["x"]), float(row["y"])) for row in result] == [
        (name, a, factor * b) for name, factor in (("one", 1), ("two", 2)) for a, b in zip(x, y, strict=True)
    ]
    assert "Data (CSV)" in figure.html()


def test_ends_of_an_interval_have_names_of_their_own():
    x, y = np.arange(2.0), np.array([0.5, 0.75])
    figure = plot_lines(
        {"one": (x, y)}, intervals={"one": (y - 0.25, y + 0.125)}, x_label="x", y_label="y", alt="A line."
    )
    of_series = {row["series"]: float(row["y"]) for row in rows(figure)}  # the last place of each
    assert of_series == {"one": 0.75, "one, low": 0.5, "one, high": 0.875}


def test_names_of_an_axis_stand_for_its_numbers():
    table = pd.DataFrame({"score": [0.5], "low": [0.4], "high": [0.6]}, index=["softmax"])
    result = rows(plot_results(table))
    assert {(row["kind"], float(row["x"]), row["y"]) for row in result} == {
        ("line", 0.4, "Softmax"),
        ("line", 0.6, "Softmax"),
        ("dot", 0.5, "Softmax"),
    }


def test_cells_of_a_matrix_are_named_and_its_colour_bar_is_left_out():
    result = rows(plot_confusion(np.array([[3, 1], [0, 2]]), ["dog", "cat"]))
    assert {(row["y"], row["x"]): float(row["value"]) for row in result} == {
        ("dog", "dog"): 0.75,
        ("dog", "cat"): 0.25,
        ("cat", "dog"): 0.0,
        ("cat", "cat"): 1.0,
    }
