"""Columns and classes of a table are chosen by name; what is unclear is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow.distributions.files import from_file
from tests.problems import randn

NAMES = ("px", "py", "energy")
KINDS = np.array(["dog", "cat", "dog", "elk", "cat", "dog"])
X = randn(6, 3, seed=4).numpy().round(3)


def table(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8")
    return file


def rows(sep: str = ",") -> str:
    lines = (sep.join([*map(str, x), kind]) for x, kind in zip(X, KINDS, strict=True))
    return "\n".join(lines) + "\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return table(tmp_path / "a.csv", "px,py,energy,species\n" + rows())


def test_columns_and_classes_are_those_that_are_named(csv: Path) -> None:
    for asked in (("px", "energy"), "energy,px", ("energy", "py", "px"), "py"):
        names = tuple(asked.split(",")) if isinstance(asked, str) else asked
        data = from_file(csv, columns=asked, label="species")
        assert data.columns == data.axes == names
        points = data.distribution.points.numpy()
        assert np.array_equal(points, X[:, [NAMES.index(name) for name in names]])
        assert data.classes == ("cat", "dog", "elk")
        assert [data.classes[k] for k in data.distribution.labels] == list(KINDS)
        assert data.standardised().columns == names
    assert [data.label(name) for name in data.classes] == [0, 1, 2]
    assert from_file(csv, columns=NAMES).classes == ()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpx;py;energy;class\n" + rows(";"),
        "px,py,energy,Label\n" + rows(),
        "# by hand\npx\tpy\tenergy\tkind\n" + rows("\t"),
        ",px,py,energy,class\n" + "".join(f"{k},{r}\n" for k, r in enumerate(rows().split())),
    ],
    ids=["byte-order mark", "capitals", "tabs", "index"],
)
def test_a_column_called_class_holds_classes(tmp_path: Path, text: str) -> None:
    file = table(tmp_path / "a.csv", text)
    asked = {"columns": NAMES, "label": "class"} if text.startswith(",") else {}
    data = from_file(file, **asked)
    assert data.columns == NAMES
    assert np.array_equal(data.distribution.points.numpy(), X)
    assert data.classes == ("cat", "dog", "elk")


@pytest.mark.parametrize("d", [1, 2, 3, 4, 64])
def test_tables_and_arrays_have_any_number_of_columns(tmp_path: Path, d: int) -> None:
    x = randn(9, d, seed=d).numpy()
    np.savetxt(tmp_path / "a.csv", x, "%.17g", delimiter=",")
    np.save(tmp_path / "a.npy", x)
    labels = np.array(["a", "b", "b"] * 3)
    names = np.array([f"n{k}" for k in range(d)])
    np.savez(tmp_path / "a.npz", x=x, labels=labels, columns=names)
    np.savez(tmp_path / "b.npz", **dict(zip(names, x.T, strict=True)), sort=labels)
    for name in ("a.csv", "a.npy", "a.npz"):
        data = from_file(tmp_path / name)
        assert np.array_equal(data.distribution.points.numpy(), x)
        assert len(data.axes) == d
    assert data.columns == tuple(names)
    assert data.classes == ("a", "b")
    both = from_file(tmp_path / "b.npz", columns=list(names), label="sort")
    assert np.array_equal(both.distribution.points.numpy(), x)
    assert both.classes == ("a", "b")


def test_whole_numbers_are_classes_in_rising_order(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", "x,group\n0.5,10\n1.5,2\n2.5,10.0\n")
    data = from_file(file, label="group")
    assert data.classes == ("2", "10")
    assert data.distribution.labels.tolist() == [1, 0, 1]
    assert data.label("10") == 1  # the label of the file, and no index
    with pytest.raises(ValueError, match=r"no class '1'; the classes are 2, 10"):
        data.label("1")
    with pytest.raises(TypeError, match="must be the text of a class"):
        data.label(2)  # type: ignore[arg-type]


HEAD = "px,py,energy,species\n"
BAD = {
    "unknown column": (HEAD + rows(), "px,pz", None, "no column 'pz': the columns are 'px', "),
    "other case": (HEAD + rows(), "PX", None, "no column 'PX'.*'px' is written so"),
    "twice": ("x,x,c\n1,2,3\n", "x", None, "two columns 'x'"),
    "text, not named": (HEAD + rows(), None, None, r"'dog' in column 'species'.*--label species"),
    "text in a column": (
        HEAD + rows() + "1,?a,2,cat\n",
        NAMES,
        "species",
        r"line 8: '\?a' in col",
    ),
    "text below": ("x,y,z,class\n" + rows() + "no,1,2,cat\n", None, None, "an e$"),
    "NaN": (HEAD + rows() + "nan,1,2,cat\n", NAMES, "species", "line 8 has NaN or infinite"),
    "empty row": (HEAD + rows() + ",,,\n", NAMES, "species", "line 8: '' is a missing value"),
    "no label": (HEAD + rows() + "1,2,3,\n", NAMES, "species", "line 8: '' is a missing label"),
    "capitals": (HEAD + rows() + "1,2,3,Cat\n", NAMES, "species", "'Cat' and 'cat' differ only"),
    "both": (HEAD + rows(), "px,species", "species", "as a coordinate and as the label"),
    "whole": ("a,b,c\n.5,1.5,0\n.2,.3,1\n", None, None, "'c' has 2 whole numbers.*--label c"),
    "two names": ("x,class,label\n1,a,b\n", None, None, "'class' and 'label' may both"),
    "fractions": ("x,y\n1,0.5\n2,0.7\n", "x", "y", "whole numbers or text, got 0.5 in row 0"),
    "no coordinate": ("class\n1\n2\n", None, "class", "no column of coordinates"),
    "empty name": (HEAD + rows(), "px,,py", None, "names with commas"),
    "one name twice": (HEAD + rows(), "px,px", None, "one column twice"),
}


def test_a_not_a_number_that_signals_makes_no_warning(tmp_path: Path) -> None:
    points = np.array([[0.5, 1.5, 0.5], [0.2, 0.3, 2.0]], dtype=">f4")
    points.view(">u4")[0, 2] = 0x7F800001
    np.save(tmp_path / "a.npy", points)
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match="NaN"):
        from_file(tmp_path / "a.npy")


@pytest.mark.parametrize("what", BAD)
def test_unclear_tables_are_refused_in_one_sentence(tmp_path: Path, what: str) -> None:
    text, columns, label, words = BAD[what]
    file = table(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=words) as caught:
        from_file(file, columns=columns, label=label)
    assert "\n" not in str(caught.value)


def test_a_split_holds_out_the_same_share_of_each_class() -> None:
    labels = torch.arange(100) % 7 // 5  # 72 and 28 points
    data = sf.datasets.from_points(randn(100, 3), labels, ("a", "b"), columns=NAMES)
    split = data.split(0.25)
    out = split.held_out.distribution
    assert torch.bincount(out.labels).tolist() == [18, 7]
    every = torch.cat([split.distribution.points, out.points])
    assert torch.equal(every.sort(0).values, data.distribution.points.sort(0).values)
    assert torch.equal(data.split(0.25).held_out.distribution.points, out.points)
    assert not torch.equal(data.split(0.25, seed=1).held_out.distribution.points, out.points)
    centre, scale = data.units.centre, data.units.scale
    moved = split.standardised(data.units).held_out.distribution.points
    back = moved * scale if isinstance(scale, float) else moved @ scale.T
    assert torch.allclose(back + centre, out.points)
