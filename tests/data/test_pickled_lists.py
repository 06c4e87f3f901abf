"""Pickled tables become CSV, of any pandas, and nothing in them runs."""

import pickle

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from audioattn_lib.cli import audioattn
from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data.pickled_lists import convert_pickled_list, read_pickled_list


def table(dtype=None):
    rows = pd.DataFrame(
        {
            "video": ["a_0_10.mp4", "b, c_1_11.mp4"],
            "classes": [["Speech", "Dog"], ["Chirp, tweet"]],
            "class_ids": [[0, 74], [111]],
            "start": [0.5, np.nan],
            "n": [3, 4],
            "kept": [True, False],
        }
    )
    if dtype is not None:
        rows["video"] = rows["video"].astype(dtype)
        rows.columns = pd.Index(list(rows.columns), dtype=dtype)
    return rows


EXPECTED = {
    "video": ["a_0_10.mp4", "b, c_1_11.mp4"],
    "classes": ["Speech;Dog", "Chirp, tweet"],
    "class_ids": ["0;74", "111"],
    "start": ["0.5", ""],
    "n": ["3", "4"],
    "kept": ["True", "False"],
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [None, object])
def test_a_table_of_this_pandas(tmp_path, dtype, protocol):
    table(dtype).to_pickle(tmp_path / "list.pkl", protocol=protocol)
    rows = read_pickled_list(tmp_path / "list.pkl")
    assert rows.to_dict("list") == EXPECTED


def test_an_index_with_a_name_is_the_first_column(tmp_path):
    named = table(object).set_index(pd.Index(["P01_01_0", "P01_01_1"], dtype=object, name="narration_id"))
    named.to_pickle(tmp_path / "list.pkl")
    rows = convert_pickled_list(tmp_path / "list.pkl", tmp_path / "new" / "list.csv")
    assert list(rows)[:2] == ["narration_id", "video"]
    back = pd.read_csv(tmp_path / "new" / "list.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(back, rows)
    assert list(back["narration_id"]) == ["P01_01_0", "P01_01_1"]


class Named:
    """Pickled as a class or function of this name, called with some arguments unless it is bare, and given a state."""

    def __init__(self, module, name, *arguments, state=None, bare=False):
        self.module, self.name, self.arguments, self.state, self.bare = module, name, arguments, state, bare


class Writer(pickle._Pickler):
    """Writes what an older pandas wrote, which is not installed."""

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Named):
            return super().save(obj, save_persistent_id)
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        if not obj.bare:
            self.save(tuple(obj.arguments))
            self.write(pickle.REDUCE)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)
        return None


def write(path, obj):
    with open(path, "wb") as file:
        Writer(file, 2).dump(obj)
    return path


def index(kind, **fields):
    modules = {"Int64Index": "pandas.core.indexes.numeric", "RangeIndex": "pandas.core.indexes.range"}
    cls = Named(modules.get(kind, "pandas.core.indexes.base"), kind, bare=True)
    return Named("pandas.core.indexes.base", "_new_Index", cls, {"name": None, **fields})


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize("manager", ["blocks", "state"])
def test_tables_of_older_pandas(tmp_path, manager):
    names = index("Index", data=objects(["video", "class_id"]))
    rows = index("Int64Index", data=np.array([7, 9]))
    texts, numbers = np.array([["a.mp4", "b.mp4"]], dtype=object), np.array([[3, 4]])
    if manager == "state":  # pandas 1.0 to 1.2
        blocks = [{"values": texts, "mgr_locs": slice(0, 1, 1)}, {"values": numbers, "mgr_locs": np.array([1])}]
        state = ([names, rows], [texts, numbers], [names, names], {"0.14.1": {"axes": [names, rows], "blocks": blocks}})
        made = Named("pandas.core.internals.managers", "BlockManager", state=state)
    else:  # pandas 1.3 to 2
        block = ("pandas._libs.internals", "_unpickle_block")
        blocks = (Named(*block, texts, slice(0, 1, 1), 2), Named(*block, numbers, slice(1, 2, 1), 2))
        made = Named("pandas.core.internals.managers", "BlockManager", blocks, [names, rows])
    field = "_data" if manager == "state" else "_mgr"
    frame = Named("pandas.core.frame", "DataFrame", state={field: made, "_typ": "dataframe"})
    pickled_list = read_pickled_list(write(tmp_path / "list.pkl", frame))
    assert pickled_list.to_dict("list") == {"index": ["7", "9"], "video": ["a.mp4", "b.mp4"], "class_id": ["3", "4"]}


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (Named("os", "system", "touch ran"), "names os.system"),
        (Named("posix", "system", "touch ran"), "names posix.system"),
        (Named("builtins", "eval", "open('ran', 'w')"), "names builtins.eval"),
        (Named("builtins", "getattr", "x", "upper"), "names builtins.getattr"),
        (Named("subprocess", "Popen", ["touch", "ran"]), "names subprocess.Popen"),
        (Named("numpy", "load", "x"), "names numpy.load"),
        (Named("numpy.core.multiarray", "frombuffer", b"x"), "names numpy.core.multiarray.frombuffer"),
        (Named("numpy.core.multiarray", "fromfile", "x"), "names numpy.core.multiarray.fromfile"),
        (Named("audioattn_lib.data.files", "write_whole", bare=True), "names audioattn_lib.data.files.write_whole"),
    ],
)
def test_what_could_run_code_is_an_error(tmp_path, monkeypatch, named, says):
    monkeypatch.chdir(tmp_path)
    for inside in (named, [named], {"_mgr": named}, Named("pandas", "DataFrame", state={"_mgr": named})):
        with pytest.raises(ManifestError, match=rf"{says}, which could run code, and was not read further"):
            read_pickled_list(write(tmp_path / "list.pkl", inside))
    assert [path.name for path in tmp_path.iterdir()] == ["list.pkl"], "nothing ran"


def test_pandas_itself_is_not_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harm = Named("pandas", "read_pickle", "other.pkl")
    with pytest.raises(ManifestError, match="it is of type read_pickle, not a DataFrame"):
        read_pickled_list(write(tmp_path / "list.pkl", harm))
    harm = Named("pandas.io.common", "os.system", "touch ran")
    with pytest.raises(ManifestError, match="not a DataFrame"):
        read_pickled_list(write(tmp_path / "list.pkl", harm))
    assert not (tmp_path / "ran").exists()


def test_what_a_pickle_changes_is_gone_with_it(tmp_path):
    """A pickle may set attributes of what it names; the next one gets these anew."""
    poison = Named("pandas", "DataFrame", bare=True, state=(None, {"kind": "DataFrame", "state": 1, "args": 2}))
    with pytest.raises(ManifestError):
        read_pickled_list(write(tmp_path / "poison.pkl", [poison]))
    table(object).to_pickle(tmp_path / "list.pkl")
    assert read_pickled_list(tmp_path / "list.pkl").to_dict("list") == EXPECTED


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (Named("numpy", "dtype", "i8"), "values of type dtype"),
        (("_reconstruct", (1, (2**40,), ("O8",), False, ["a"])), "1 objects in an array of"),
        (("_reconstruct", (1, (2,), ("O8",), False, b"0123456789abcdef")), "an array of|cannot create an OBJECT array"),
        (("_reconstruct", (1, (9,), ("i8",), False, b"01234567")), "cannot reshape"),
        (("_reconstruct", (1, (1,), ("V8",), False, b"01234567")), "an array of 'V8'"),
    ],
)
def test_arrays_that_cannot_be(tmp_path, values, says):
    """Nothing of numpy is called but to read whole numbers, text and lists."""
    if isinstance(values, tuple):
        version, shape, dtype, fortran, content = values[1]
        state = (version, shape, Named("numpy", "dtype", *dtype), fortran, content)
        values = Named("numpy.core.multiarray", "_reconstruct", state=state)
    names = index("Index", data=objects(["video"]))
    block = Named("pandas._libs.internals", "_unpickle_block", values, slice(0, 1, 1), 2)
    rows = index("RangeIndex", start=0, stop=1, step=1)
    made = Named("pandas.core.internals.managers", "BlockManager", (block,), [names, rows])
    frame = Named("pandas.core.frame", "DataFrame", state={"_mgr": made})
    with pytest.raises(ManifestError, match=f"holds no table that is known here .*({says})"):
        read_pickled_list(write(tmp_path / "list.pkl", frame))


def test_cells_may_be_arrays_and_numbers_of_numpy(tmp_path):
    rows = pd.DataFrame({"ids": objects([np.array([3, 4]), np.int64(7), np.float32(0.5), np.array(["a", "b"])])})
    rows.to_pickle(tmp_path / "list.pkl")
    assert list(read_pickled_list(tmp_path / "list.pkl")["ids"]) == ["3;4", "7", "0.5", "a;b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no pickled table, or not all of one"),
        (b"video,class\n", "no pickled table, or not all of one"),
        (pickle.dumps([1, 2]), "holds no table that is known here .it is of type list, not a DataFrame"),
        (pickle.dumps(table(object))[:-40], "no pickled table, or not all of one"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, says):
    (tmp_path / "list.pkl").write_bytes(content)
    with pytest.raises(ManifestError, match=rf"list\.pkl: {says}"):
        read_pickled_list(tmp_path / "list.pkl")
    with pytest.raises(ManifestError, match="no such list"):
        read_pickled_list(tmp_path / "none.pkl")


@pytest.mark.parametrize("value", [{"a": 1}, ["x;y"], [["deep"]], pd.Timestamp("2020-01-01"), b"bytes"])
def test_values_that_have_no_place_in_a_table(tmp_path, value):
    rows = pd.DataFrame({"label": objects(["fine", value])})
    rows.to_pickle(tmp_path / "list.pkl")
    with pytest.raises(ManifestError, match="row 1 of column label is .*; text, numbers and lists of both"):
        read_pickled_list(tmp_path / "list.pkl")


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(object).to_pickle("list.pkl")
    done = CliRunner().invoke(audioattn, ["data", "convert", "list.pkl"])
    assert done.output == "list.csv: 2 rows of video, classes, class_ids, start, n, kept\n"
    write("harm.pkl", Named("os", "system", "touch ran"))
    done = CliRunner().invoke(audioattn, ["data", "convert", "harm.pkl"])
    assert done.exit_code == 2
    assert done.stderr.startswith("audioattn: harm.pkl: names os.system, which could run code")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["harm.pkl", "list.csv", "list.pkl"]
