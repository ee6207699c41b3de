"""docs/figures.md and README's small pictures are those of the figures as they are drawn now."""

from pathlib import Path

import pytest
from PIL import Image

from figures import drawing, gallery, sources
from sdeflow.provenance import picture_provenance

NAMES = drawing.names()


@pytest.mark.parametrize("folder", [drawing.GALLERY, gallery.SMALL], ids=["page", "readme"])
def test_each_picture_is_drawn_by_the_figure_as_it_is(folder: Path) -> None:
    found = {file.stem: picture_provenance(file) for file in folder.glob("*.png")}
    asked = NAMES if folder == drawing.GALLERY else gallery.SHOWN
    assert set(found) == set(asked), "run: python -m figures all, then page, then readme"
    old = [name for name in asked if found[name]["source"] != sources.digest(name)]
    assert not old, f"run: python -m figures {' '.join(old)} page readme"
    assert {made["quick"] for made in found.values()} == {"False"}


def test_the_page_shows_the_lines_that_draw() -> None:
    assert gallery.PAGE.read_text("utf-8") == gallery.page(), "run: python -m figures page"


def test_readme_shows_each_small_picture() -> None:
    found = gallery.BLOCK.search(gallery.README.read_text("utf-8"))
    assert found is not None
    assert found.group() == gallery.block(), "run: python -m figures readme"


def test_readme_s_other_blocks_stay_when_the_gallery_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also into an empty block."""
    table = "<!-- measured -->\n| a |\n<!-- end -->\n"
    monkeypatch.setattr(gallery, "README", tmp_path / "README.md")
    monkeypatch.setattr(gallery, "SMALL", tmp_path)
    monkeypatch.setattr(gallery, "SHOWN", NAMES[:1])
    for inside in ("", "old\n"):
        gallery.README.write_text(f"A\n<!-- gallery -->\n{inside}<!-- end -->\n{table}")
        gallery.write_readme()
        written = f"A\n<!-- gallery -->\n{gallery.block()}<!-- end -->\n{table}"
        assert gallery.README.read_text() == written


def test_a_small_picture_is_that_of_the_large_one() -> None:
    for name in gallery.SHOWN:
        small = gallery.SMALL / f"{name}.png"
        assert small.stat().st_size < 100_000
        assert picture_provenance(small) == picture_provenance(drawing.GALLERY / f"{name}.png")
        with Image.open(small) as picture:
            assert picture.width == gallery.WIDTH


def test_readme_s_links_are_absolute_once_the_repository_has_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "https://example.org/physics/sdeflow"
    project = f'[project]\nname = "sdeflow"\nurls = {{ Repository = "{address}/" }}\n'
    (tmp_path / "pyproject.toml").write_text(project)
    assert f'src="{drawing.GALLERY.parent.name}/figures/small/' in gallery.block()
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    assert f'src="{address}/raw/main/docs/figures/small/{gallery.SHOWN[0]}.png"' in gallery.block()
    assert f'href="{address}/blob/main/docs/figures.md#' in gallery.block()


FILE = '''\
"""What it shows."""

from sdeflow import plot
from figures.parts import half

def draw(fig, problem, quick):
    """Draw it."""
    plot.cloud(fig.subplots(), half(problem))  # dots
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder figures/ with one figure, beside the package's own plot/."""
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "toy.py").write_text(FILE)
    (folder / "parts.py").write_text("def half(x):\n    return x / 2\n")
    (folder / "other.py").write_text("x = 1\n")
    (tmp_path / "sdeflow").symlink_to(sources.PLOT.parent)
    monkeypatch.setattr(sources, "HERE", folder)
    return folder


def of_toy() -> str:
    sources.digest.cache_clear()
    return sources.digest("toy")


def test_the_digest_changes_with_what_draws_and_with_nothing_else(toy: Path) -> None:
    first = of_toy()
    assert {f.name for f in sources.files("toy")} >= {
        "toy.py",
        "parts.py",
        "clouds.py",
        "style.py",
    }
    assert "benchmarks.py" not in {f.name for f in sources.files("toy")}
    (toy / "other.py").write_text("x = 2\n")
    (toy / "toy.py").write_text(FILE.replace("# dots", "# points").replace("What", "All that"))
    assert of_toy() == first
    (toy / "parts.py").write_text("def half(x):\n    return x / 3\n")
    second = of_toy()
    (toy / "toy.py").write_text(FILE.replace("cloud", "density"))
    assert len({first, second, of_toy()}) == 3
