"""Data files: what they may hold, and that every other file is refused in one sentence."""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from sdeflow.distributions import datasets
from sdeflow.distributions import files as datafile
from sdeflow.distributions.files import from_file

DOUBLE = torch.float64
POINTS = torch.tensor([[0.0, 1.0], [-2.5, 0.125], [3e-3, 1e4]], dtype=DOUBLE)


# ----------------------------------------------------------------------------------- your own file


@pytest.mark.parametrize(
    "text",
    [
        "0.0,1\n-2.5,.125\n3e-3,1E4\n",
        "0.;1\r\n-2.5;0.125\r\n0.003;10000",
        "\ufeff0.0,1\n-2.5,0.125\n0.003,10000",
        "x,y\n 0 , 1\n\n-2.5,0.125\n0.003,10000\n\n",
        "0.0\t1\n-2.5\t0.125\n0.003\t10000\n",
        '"x_1","y [µm]"\n"0","1"\n"-2.5","0.125"\n"0.003","10000"\n',
        "λ;(y)\n'0';'1'\n'-2.5';'0.125'\n'0.003';'10000'\n",
        "# by hand\nlon lat\n  0   1 # first\n-2.5 0.125\n0.003 10000  \n",
        "+0 1\r-2.5 0.125\r0.003 10000\r",
        "% by Matlab\n0.0 1\n%\n-2.5 0.125\n0.003 10000\n",
        "sep=;\r\nx;y\r\n0;1\r\n-2.5;0.125\r\n0.003;10000\r\n",
        '"x, in m" , "y; in s"\n"0", "1"\n"-2.5",0.125\n0.003,"10000"\n',
    ],
    ids=[
        "commas",
        "semicolons",
        "byte-order mark",
        "header",
        "tabs",
        "quotes",
        "single quotes",
        "blanks",
        "old Macintosh",
        "Matlab",
        "Excel",
        "marks in quotes",
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".TXT", ".tsv"])
def test_tables_are_read(tmp_path: Path, text: str, suffix: str) -> None:
    file = tmp_path / f"points{suffix}"
    file.write_bytes(text.encode())
    data = from_file(file)
    assert data.distribution.points is not None
    assert torch.equal(data.distribution.points, POINTS)
    assert data.distribution.labels is None
    assert data.classes == ()
    assert data.name == str(file)
    assert torch.equal(datasets.named(str(file)).sample(9, 0), data.sample(9, 0))


@pytest.mark.parametrize("kind", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_text_is_read_in_the_encoding_that_it_names(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("# \u00e9t\u00e9\nx\ty\n0\t1\n-2.5\t0.125\n0.003\t1e4\n".encode(kind))
    if kind == "utf-16":  # with its two first bytes
        assert torch.equal(from_file(file).distribution.points, POINTS)
        return
    with pytest.raises(ValueError, match=r"is not text in UTF-8, .*; save it as UTF-8"):
        from_file(file)


def test_labels_count_the_distinct_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,kind\n0,1,7\n-2.5,0.125,-1\n0.003,1e4,7.0\n")
    np.save(tmp_path / "a.npy", np.c_[POINTS.numpy(), [7, -1, 7]])
    np.savez(tmp_path / "a.npz", points=POINTS.numpy(), labels=np.array([7, -1, 7], dtype=np.int8))
    for name in ("a.csv", "a.npy", "a.npz"):
        data = from_file(tmp_path / name)
        assert data.distribution.points is not None
        assert data.distribution.labels is not None
        assert torch.equal(data.distribution.points, POINTS)
        assert data.distribution.labels.tolist() == [1, 0, 1]
        assert data.classes == ("-1", "7")


def test_arrays_are_read(tmp_path: Path) -> None:
    x = POINTS.numpy()
    for k, dtype in enumerate(("f8", ">f8", "f4", "f2", "g")):
        file = tmp_path / f"{k}.npy"
        np.save(file, np.asfortranarray(x.astype(dtype)))
        read = from_file(file).distribution.points
        assert read is not None
        assert torch.equal(read, torch.from_numpy(x.astype(dtype).astype("f8")))
    np.save(tmp_path / "whole.npy", np.array([[1, 2], [3, 4]], dtype=np.uint8))
    whole = from_file(tmp_path / "whole.npy").distribution.points
    assert whole is not None
    assert whole.tolist() == [[1, 2], [3, 4]]
    for keys in ({"x": x}, {"points": x}, {"anything": x}, {"x": x, "other": x + 1}):
        np.savez_compressed(tmp_path / "a.npz", **keys)  # type: ignore[arg-type]
        read = from_file(tmp_path / "a.npz").distribution.points
        assert read is not None
        assert torch.equal(read, POINTS)


BAD_TEXTS = {
    "": "is empty",
    "\n\n# nothing\n": "is empty",
    "x,y\n": "is empty",
    "1,2\n": "at least two distinct points",
    "1,2\n1,2\n": "at least two distinct points",
    "1,2\n3,four\n": "line 2: 'four' is not a number",
    "1,2\n3,\n": "line 2: '' is a missing value",
    "1,5;2,5\n2;3\n": r"line 1: '1,5' is not a number; write decimals with a point",
    "1\t\t2\n3\t\t4\n": "line 1: '' is a missing value",
    "1_0,2\n3,4\n": "line 1: '1_0' is not a number",
    "x,1\n3,4\n": "line 1: 'x' is not a number",
    "x,y\na,b\n3,4\n": "line 2: 'a' is not a number",
    # A first line that is no header is a point that cannot be read, not one to be dropped.
    "\u22121,\u22122\n3,4\n5,7\n": "line 1: '\u22121' is not a number",
    "(1,2)\n(3,4)\n": r"line 1: '\(1' is not a number",
    "$1,$2\n3,4\n5,7\n": r"line 1: '\$1' is not a number",
    "1m,2m\n3,4\n5,7\n": "line 1: '1m' is not a number",
    "NA,NA\n3,4\n5,7\n": "line 1: 'NA' is a missing value",
    "null,None\n3,4\n5,7\n": "line 1: 'null' is a missing value",
    "nan,inf\n3,4\n5,7\n": "line 1 has NaN or infinite",
    "-,?\n3,4\n5,7\n": "line 1: '-' is a missing value",
    "1;2;\n3;4;\n": "line 1 ends in ';'; remove it",
    "1\t2\t\n3\t4\t\n": r"line 1 ends in '\\t'; remove it",
    "x,y,\n1,2,\n": "line 1 ends in ','; remove it",
    # What pandas writes without names, with and without its index.
    "0,1\n10.5,20.25\n11.0,19.5\n": r"line 1 seems to be a header.*header=False",
    "0 1\n3 4\n": r"line 1 seems to be a header.*write 0\.0 for 0 if it is a point",
    ",0,1\n0,10.5,20.25\n1,11.0,19.5\n": r"line 1 .*an index before them.*index=False",
    # Decimal commas.
    "0,435\n1,286\n": "line 1: 0,435 may be one number with a decimal comma.*header x,y",
    "-0,5\n1,25\n": "may be one number with a decimal comma",
    "value\n0,435\n1,286\n": r"line 2 has 2 columns, the header 1.*decimals with a point",
    '"1,234.5","2"\n"2","3"\n': "line 1: '1,234.5' is not a number",
    '"0,435"\n"1,286"\n': "line 1: '0,435' is not a number",
    # Columns that are no coordinates.
    "id,x\n7,1.5\n9,2.5\n": "line 2: the column 'id' is an index",
    "id,x,y\n7,1,2\n9,3,4\n": "line 2: the column 'id' is an index",
    "Index [1],x,y\n7,1,2\n9,3,4\n": "is an index and not a coordinate",
    "0 5 3\n1 7 3\n2 8 4\n3 9 4\n": "first column counts the lines.*write 0.0 for 0",
    "n,x\n1,0.5\n2,0.7\n3,0.1\n4,0.2\n": "line 2: the first column counts the lines",
    "".join(f"{k} {k % 3}.5\n" for k in range(1990, 2000)): "first column counts the lines",
    "".join(f"{k}.5,1,{k}\n" for k in range(20)): "labels have 20 different values on 20 points",
    "x,y\nm,s\n3,4\n5,7\n": "line 2: 'm' is not a number; leave out .* units",
    "x,y\n1,NA\n3,4\n": "line 2: 'NA' is a missing value; drop that line",
    "1.0D+00 2\n3 4\n": "line 1: '1.0D.00' is not a number; .*exponents with an e",
    "sep=;\n0,5;1,5\n": "line 2: '0,5' is not a number; write decimals with a point",
    "1.5 2 3 4\n5 6 7 8\n": "has 2 points of 4 columns; transpose it",
    ",x,y\n0,1,2\n1,3,4\n": r"line 2 starts with an index.*index=False",
    ",x\n0,1\n1,3\n": r"line 2 starts with an index.*index=False",
    '"x" "y"\n"1" 5 6\n"2" 7 8\n': "line 2 starts with an index",
    "1,2\n\n3,4,5\n": "line 3 has 3 columns, the lines before it 2",
    "1,2,3\n3,4\n": "line 2 has 2 columns, the lines before it 3",
    "1,2\n3,nan\n": "line 2 has NaN or infinite",
    "x,y\n1,2\n3,-inf\n": "line 3 has NaN or infinite",
    "1,2\n3,1e999\n": "line 2 has NaN or infinite",
    "x,y,label\n1,2,0\n3,4,0.5\n": "labels must be whole numbers or text, got 0.5 in row 1",
    "0,0\n1e60,0\n": "beyond single precision",
}


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_bad_tables_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "points.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=BAD_TEXTS[text]) as caught:
        from_file(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


X = np.arange(8.0).reshape(4, 2)
BAD_ARRAYS: dict[str, tuple[object, str]] = {
    "objects": (np.array([[1, None], [2, 3]], dtype=object), "not an array of numbers"),
    "complex": (X.astype(complex), "real numbers, got complex128"),
    "truths": (X > 1, "real numbers, got bool"),
    "text": (X.astype("U3"), "real numbers"),
    "records": (np.zeros(3, dtype="f8,f8"), "real numbers.*stack its columns"),
    "on its side": (X.T.repeat(3, 1), "has 2 points of 12 columns; transpose it"),
    "many labels": (np.c_[X, X[:, 0]].repeat(5, 0) + np.arange(20)[:, None], "labels have 20"),
    "none": (X[:0], "is empty"),
    "rank 3": (X[None], r"got shape \(1, 4, 2\)"),
    "scalar": (np.float64(3.0), r"got shape \(\)"),
    "NaN": (np.where(X == 5, np.nan, X), "first in row 2"),
    "infinite": (np.where(X == 1, np.inf, X), "first in row 0"),
    "one point": (X[:1], "two distinct"),
    "fractional label": ({"x": X, "labels": np.array([0, 1, 2, 2.5])}, "got 2.5 in row 3"),
    "infinite label": (np.c_[X, [0, np.inf, 2, 2]], "NaN or infinite entries, first in row 1"),
    "nameless": ({"a": X, "b": X}, r"holds arrays \['a', 'b'\]; call the one"),
    "only labels": ({"labels": X[:, 0]}, r"holds arrays \[\]"),
    "few labels": ({"x": X, "labels": np.arange(3)}, r"labels must be \(4,\), got shape \(3,\)"),
    "labels of bytes": ({"x": X, "labels": np.array([b"a"] * 4)}, "whole numbers or text, got"),
    "alike": ({"x": X, "labels": np.array(["a", "A", "b", "b"])}, "'A' and 'a' differ only in"),
    "infinite labels": ({"x": X, "labels": np.full(4, np.inf)}, "got inf in row 0"),
    "NaN labels": ({"x": X, "labels": np.full(4, np.nan)}, "got nan in row 0"),
    "labels twice": (
        {"x": X, "columns": np.array(["x", "class"]), "labels": np.arange(4)},
        "labels twice",
    ),
    "unlike names": ({"x": X, "columns": np.array(["x"])}, "columns must be 2 names"),
    "objects inside": ({"x": np.array([None])}, "not an array of numbers"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path: Path, what: str) -> None:
    array, word = BAD_ARRAYS[what]
    if isinstance(array, dict):
        file = tmp_path / "a.npz"
        np.savez(file, **array)
    else:
        file = tmp_path / "a.npy"
        np.save(file, array)
    with pytest.raises(ValueError, match=word) as caught:
        from_file(file)
    assert str(file) in str(caught.value)


def test_missing_unknown_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.csv does not exist"):
        from_file(tmp_path / "no.csv")
    with pytest.raises(ValueError, match="does not exist"):
        from_file(tmp_path / "no.suffix")
    with pytest.raises(ValueError, match="is a folder"):
        from_file(tmp_path)
    with pytest.raises(TypeError, match="path must be a file name or a Path"):
        from_file(3)  # type: ignore[arg-type]
    (tmp_path / "a.xlsx").write_bytes(b"1,2")
    with pytest.raises(ValueError, match=r"use one of \.csv, "):
        from_file(tmp_path / "a.xlsx")
    (tmp_path / "latin.csv").write_bytes("1,2 # \u00e9t\u00e9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not text in UTF-8"):
        from_file(tmp_path / "latin.csv")
    with zipfile.ZipFile(tmp_path / "papers.npz", "w") as archive:
        archive.writestr("x", "no array")
    with pytest.raises(ValueError, match=r"papers\.npz holds arrays \[\]"):
        from_file(tmp_path / "papers.npz")
    (tmp_path / "a.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"a\.png is not a picture that can be read; save"):
        from_file(tmp_path / "a.png")
    for name in ("a.npy", "a.npz", "a.png"):
        for content in (b"", b"1,2\n3,4\n", b"PK\x03\x04junk", b"\x80\x04N."):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=r"not an array of numbers|not a picture"):
                from_file(tmp_path / name)
    # A header that promises a thousand times what is there.
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    honest = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(honest.replace(b"(3, 2), }   ", b"(3000, 2), }"))
    with pytest.raises(ValueError, match="not an array of numbers"):
        from_file(tmp_path / "a.npy")


# -------------------------------------------------------------------------------- your own picture


def saved(tmp_path: Path, grey: object, mode: str = "L", suffix: str = ".png") -> Path:
    file = tmp_path / f"picture{suffix}"
    Image.fromarray(np.array(grey, dtype=np.uint8), "L").convert(mode).save(file)
    return file


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", ".png"), ("RGB", ".bmp"), ("P", ".gif"), ("RGBA", ".PNG"), ("LA", ".png"),
     ("RGB", ".webp"), ("L", ".jpg"), ("CMYK", ".jpeg"), ("1", ".png")],
)  # fmt: skip
def test_a_picture_is_upright_and_in_scale(tmp_path: Path, mode: str, suffix: str) -> None:
    grey = np.full((24, 48), 255)
    grey[:8, :8] = 0  # dark in the upper left; 8 x 8 blocks, which JPEG keeps
    data = from_file(saved(tmp_path, grey, mode, suffix))
    x = data.sample(2000, 0)
    # 48 wide spans [-1, 1], so 24 high spans [-1/2, 1/2].
    share = ((x[:, 0] < -2 / 3) & (x[:, 1] > 1 / 6)).float().mean()
    assert share > (0.9 if suffix in (".jpg", ".jpeg", ".webp") else 0.9999)
    assert (x[:, 0].abs() <= 1).all()
    assert (x[:, 1].abs() <= 0.5).all()
    if share == 1:
        assert data.mean.tolist() == pytest.approx([-5 / 6, 1 / 3])
        assert data.std == pytest.approx(1 / 3 / 12**0.5)
        assert (data.cell(x) >= 0).all()


def test_density_of_a_picture_is_its_darkness(tmp_path: Path) -> None:
    # Grey levels 0, 204, 153, 255: darkness 5, 1, 2, 0 fifths; counted from the lower left.
    data = from_file(saved(tmp_path, [[0, 204], [153, 255]]))
    x, n = data.sample(40_000, 0), 40_000
    assert (
        stats.chisquare(torch.bincount(data.cell(x)).numpy(), np.array([2, 5, 1]) * n / 8).pvalue
        > 1e-4
    )
    inside = x[data.cell(x) == 1]
    for low, column in zip((-1.0, 0.0), inside.T, strict=True):
        assert stats.kstest(column.numpy(), stats.uniform(low, 1).cdf).pvalue > 1e-4
    assert int(data.cell(torch.tensor([[0.5, -0.5]]))) == -1
    # Sixteen bits of grey: the same density.
    deep = 257 * np.array([[0, 204], [153, 255]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert torch.equal(from_file(tmp_path / "deep.png").sample(500, 3), data.sample(500, 3))


def test_transparency_counts_as_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)  # black, with alpha 1, 0.4 and 0
    pixels[0, :, 3] = [255, 102, 0]
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    data = from_file(tmp_path / "a.png")
    assert data.distribution is not None
    assert data.distribution.weights.tolist() == [pytest.approx([1, 0.4, 0])]


def test_photograph_is_turned_as_its_exif_tag_says(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0] * 16 + [255] * 16] * 16, dtype=np.uint8), "L")
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right: turn by a quarter, clockwise
    picture.save(tmp_path / "a.jpg", exif=exif)
    data = from_file(tmp_path / "a.jpg")
    assert data.mean.tolist() == pytest.approx([0, 0.5], abs=0.01)


def test_bad_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"picture\.png has no dark pixels; draw dark on white"):
        from_file(saved(tmp_path, np.full((3, 3), 255)))
    Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match="no dark pixels"):
        from_file(tmp_path / "clear.png")
    good = saved(tmp_path, np.arange(64).reshape(8, 8) * 3)
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not a picture that can be read"):
        from_file(cut)
    monkeypatch.setattr(datafile, "MAX_PIXELS", 63)
    with pytest.raises(ValueError, match=r"too large \(8 x 8 pixels\); shrink it"):
        from_file(good)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31)  # and Pillow's own limit, at twice that
    with pytest.raises(ValueError, match="too large"):
        from_file(good)


# ---------------------------------------------------------------------------------------- any file


def _bytes_of(save: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


_PICTURE = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3, "L")
SOUND = {
    ".csv": b"x,y,label\n0,1,0\n2.5,-1e-3,1\n",
    ".npy": _bytes_of(lambda s: np.save(s, X)),
    ".npz": _bytes_of(lambda s: np.savez(s, x=X, labels=np.arange(4))),
    ".png": _bytes_of(lambda s: _PICTURE.save(s, "PNG")),
    ".jpg": _bytes_of(lambda s: _PICTURE.save(s, "JPEG")),
    ".gif": _bytes_of(lambda s: _PICTURE.save(s, "GIF")),
    ".bmp": _bytes_of(lambda s: _PICTURE.save(s, "BMP")),
    ".webp": _bytes_of(lambda s: _PICTURE.save(s, "WEBP")),
}


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sound file with some bytes changed, and perhaps cut short."""
    suffix = draw(st.sampled_from(sorted(SOUND)))
    content = bytearray(SOUND[suffix])
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return suffix, bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


JUNK = st.binary(max_size=64)
TABLE = st.text("0123456789.,;-+eE \n\tnaif#_x\u00e9\u0661", max_size=40).map(str.encode)


@settings(max_examples=400)
@given(
    file=st.tuples(st.sampled_from(sorted(SOUND)), JUNK)
    | TABLE.map(lambda b: (".csv", b))
    | spoilt()
)
@example(file=(".csv", b"1 2\n3 4\n"))
@example(file=(".csv", b"1,2,1e300\n3,4,-1e300\n"))
@example(file=(".csv", b"0,0\n1e-44,0\n"))
@example(file=(".csv", b"3e38,0\n-3e38,0\n"))
def test_random_files_are_read_or_refused(
    file: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"junk{file[0]}"
    path.write_bytes(file[1])
    try:
        data = from_file(path)
    except (ValueError, TypeError) as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert str(path) in refusal
        return
    assert torch.isfinite(data.sample(5, 0)).all()
    assert torch.isfinite(data.mean).all()
    assert 0 < data.std < math.inf


def test_unspoilt_files_are_read(tmp_path: Path) -> None:
    for suffix, content in SOUND.items():
        (tmp_path / f"a{suffix}").write_bytes(content)
        assert from_file(tmp_path / f"a{suffix}").std > 0
