"""The pages of docs/: their programs run, their links lead somewhere, their tables are true.

The programs run as they stand, but for numbers that set how long they take.
"""

import re
import subprocess
from pathlib import Path

import pytest

import sdeflow as sf
from docs.site import programs
from sdeflow.solvers.checks import ADAPTIVE, FIXED
from sdeflow.solvers.sde_solver import METHODS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if page.parent in (DOCS, DOCS / "how_to") and programs.blocks(page.read_text("utf-8"))
    if page.name
    not in ("figures.md", "benchmarks.md", "examples.md")  # parts of files, which other tests run
)
SMALLER = {
    "tutorial.md": {
        "10_000": "3_000", "(128, 128)": "(64, 64)", "steps=500": "steps=20",
        "steps=200, seed=0).solve(sde": "steps=100, seed=0).solve(sde",
        "steps=200, seed=0).solve(sf": "steps=50, seed=0).solve(sf",
    },
    "how_to/own_potential.md": {
        "5000": "1000", "(96, 96))\ndensities": "(64, 64))\ndensities", "steps=400": "steps=200",
        "steps=200)": "steps=100)", "steps=1000": "steps=250", "sample(200": "sample(60",
    },
    "how_to/own_points.md": {"steps=1000": "steps=10", "1000": "300", "1500": "300"},
    "how_to/ddpm_network.md": {"range(2000)": "range(20)", "1000": "300", "(2000": "(500"},
    "how_to/flow_network.md": {
        "range(1500)": "range(20)", "1000": "300", "(2000": "(500", "steps=200": "steps=50",
        "sample(200": "sample(50",
    },
    "how_to/own_solver.md": {"prior(10_000": "prior(4_000", "steps=400": "steps=200", "256": "96"},
    "how_to/large_clouds.md": {"steps=20)": "steps=4)"},
    "how_to/paper_figure.md": {"(96, 96)": "(64, 64)"},
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_a_page_run_and_print_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / page).read_text("utf-8")
    for block in programs.blocks(text):
        for package in re.findall(r"^(?:import|from) (\w+)", block.program, re.MULTILINE):
            pytest.importorskip(package, reason=f"the page imports {package}")
    if ".zarr" in text:
        pytest.importorskip("zarr", reason="zarr of the extra `large` is not installed")
    monkeypatch.chdir(tmp_path)
    printed = programs.run(text, SMALLER.get(page))
    for block, out in zip(programs.blocks(text), printed, strict=True):
        if block.shown is not None:
            assert programs.shape(out) == programs.shape(block.shown), block.program
    for picture in re.findall(r"\]\([./]*pictures/([\w.]+)\)", text):
        assert (tmp_path / picture).stat().st_size > 10_000
        assert (DOCS / "pictures" / picture).is_file()


def test_shell_scripts_of_the_pages_are_valid() -> None:
    """bash reads them without running them: the job of Slurm too."""
    scripts = [
        script
        for page in EVERY
        for script in re.findall(r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    ]
    assert any("#SBATCH" in script for script in scripts)
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


# ------------------------------------------------------------------------------------- links

LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
EVERY = [*DOCS.glob("*.md"), *DOCS.glob("how_to/*.md"), *ROOT.glob("*.md")]


def places(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings, and those that it sets."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    return {*slugs, *re.findall(r'id="([^"]+)"', prose)}


def leads(link: str, page: Path, text: str) -> bool:
    """Whether a link of a Markdown page leads to a file, and a place in it, that are there."""
    if link.startswith(("http://", "https://")):
        return bool(re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+(/\S*)?", link))
    path, _, place = link.partition("#")
    file = page.parent / path
    if file.parent.name in ("gallery", "api"):  # made by make docs
        names = {program.stem for program in (ROOT / "examples").glob("*.py")}
        return file.stem in {"index", *sf.__all__, *names}
    if not file.exists():
        return False
    if file.suffix == ".md":
        text = file.read_text("utf-8")
    return not place or place in places(text)


def lost(page: Path, text: str) -> list[str]:
    """Links of a Markdown page that lead nowhere."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    links = [one or other for one, other in LINK.findall(prose)]
    return [link for link in links if not leads(link, page, text)]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_links_lead_to_files_and_places_that_are_there(page: Path) -> None:
    assert not lost(page, page.read_text("utf-8"))


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "# Your own, b\n[a](theory.md#1-the-forward-process) [b](#your-own-b) "
    text += "[c](https://a.org/b) `[x](y)`"
    assert lost(DOCS / "x.md", text) == []
    text = "[a](theory.md#2-state) [b](none.md) [c](https://a) [d](gallery/none.rst) [e](#f)"
    assert len(lost(DOCS / "x.md", text)) == 5


# ------------------------------------------------------------------------------------- solvers


def solver_rows() -> list[list[str]]:
    text = (DOCS / "choose_a_solver.md").read_text("utf-8")
    table = text.partition("<!-- solvers -->")[2].partition("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip(" |`") for cell in row] for row in rows]


def test_the_table_of_solvers_is_that_of_the_code() -> None:
    rows = solver_rows()
    assert [row[0] for row in rows] == [*METHODS, *FIXED, *ADAPTIVE]
    kinds = {"ito": "Ito", "stratonovich": "Stratonovich", None: "both"}
    for row in rows[: len(METHODS)]:
        method = METHODS[row[0]]
        assert row[1].split(",")[0] == str(method.calls[1])
        assert row[4] == kinds[method.calculus]
    for row in rows[len(METHODS) : len(METHODS) + len(FIXED)]:
        stages = FIXED[row[0]]
        assert row[1] == ("varies" if stages is None else str(len(stages)))
        assert row[3] == "fixed"
    assert {row[3] for row in rows[len(METHODS) + len(FIXED) :]} == {"adaptive"}


def test_the_orders_of_the_table_are_those_that_are_fitted() -> None:
    """tests/theorems/test_convergence_orders.py fits them; here they are read from its text."""
    text = (ROOT / "tests/theorems/test_convergence_orders.py").read_text("utf-8")
    flows = dict(re.findall(r'\("(\w+)", (\d)\)', text))
    number = {"1/2": 0.5, "1": 1.0, "3/2": 1.5}
    for row in solver_rows()[: len(METHODS)]:
        assert (number[row[2]], number[row[3]]) == METHODS[row[0]].order
    for row in solver_rows()[len(METHODS) : len(METHODS) + len(FIXED)]:
        if row[0] in flows:
            assert row[2] == flows[row[0]]
    assert len(flows) == 5
