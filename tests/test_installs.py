"""What an installation holds, asks for and says of itself: wheel, requirements, records, image.

Each rule is also run on a text that breaks it.
"""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sdeflow"
TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
BESIDE = tomllib.loads(TEXT)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
SOURCES = {file: file.read_text("utf-8") for file in sorted(PACKAGE.rglob("*.py"))}
MODULES = {"pillow": "PIL", "imageio-ffmpeg": "imageio_ffmpeg", "scikit-learn": "sklearn"}
"""Modules that are not named as their package is."""


def modules(requirements: list[str]) -> set[str]:
    """What a program imports of these requirements."""
    names = [re.split(r"[><=]", requirement)[0] for requirement in requirements]
    return {MODULES.get(name, name) for name in names}


# ------------------------------------------------------------------------------------- the wheel


def test_the_wheel_holds_the_package_its_page_its_types_and_the_cited_pages(
    tmp_path: Path,
) -> None:
    wheels = pytest.importorskip("hatchling.builders.wheel", reason="builds the wheel")
    [wheel] = wheels.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"sdeflow-{PROJECT['version']}.dist-info/METADATA").decode()
    page = {f"sdeflow/experiment/page.{kind}" for kind in ("html", "css", "js")}
    assert held >= page | {"sdeflow/py.typed"}
    assert held == {str(file.relative_to(ROOT)) for file in SOURCES} | page | {
        "sdeflow/py.typed",
        *BESIDE.values(),
    }
    assert re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE) == sorted(
        PROJECT["dependencies"], key=str.lower
    )


def cited(texts: Iterator[str] | list[str]) -> set[str]:
    """Pages and programs of the repository that the texts name."""
    place = r"\b((?:docs|tests|benchmarks|figures|examples)/[\w/]+\.\w+)"
    return {found for text in texts for found in re.findall(place, text)}


def test_what_the_package_cites_is_in_the_wheel() -> None:
    """A user who has the wheel alone opens docs/theory.md beside the module that cites it."""
    assert cited(SOURCES.values()) == set(BESIDE)
    assert {f"sdeflow/{page}" for page in BESIDE} == set(BESIDE.values())
    assert cited(["See docs/theory.md, (1.1), and `benchmarks/spiral.py`."]) - set(BESIDE)


# -------------------------------------------------------------------------------- requirements


def imported(texts: Iterator[str] | list[str]) -> set[str]:
    """Packages that the texts import, but for Python's own and ours."""
    line = r"^\s*(?:import ([\w.]+)(?: as \w+)?$|from ([\w.]+) import )"
    found = {
        (one or other).partition(".")[0]
        for text in texts
        for one, other in re.findall(line, text, re.MULTILINE)
    }
    return found - set(sys.stdlib_module_names) - {"sdeflow"}


def test_the_package_asks_for_what_it_imports_and_for_nothing_else() -> None:
    extra = modules(PROJECT["optional-dependencies"]["video"])
    assert imported(SOURCES.values()) == modules(PROJECT["dependencies"]) | extra
    assert imported(["import pandas as pd\nfrom PIL import Image\nimport os"]) == {"pandas", "PIL"}


def test_each_python_that_is_promised_is_tested() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    pythons = re.findall(r"^PYTHONS \?= (.*)$", makefile, re.MULTILINE)[0].split()
    named = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert named == pythons
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    assert json.loads(re.findall(r"python: (\[.*\])", workflow)[0]) == pythons
    assert PROJECT["requires-python"] == f">={pythons[0]}"


def test_a_matrix_without_a_python_names_it_and_fails() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "test-matrix", "PYTHONS=9.8 9.9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "passed: none; failed: none; missing: 9.8 9.9"
    assert done.returncode


# ------------------------------------------------------------------------------------- records


def record_faults(record: dict, citation: str) -> Iterator[str]:
    """Where the record for Zenodo says other things than pyproject.toml and CITATION.cff."""
    if record["version"] != PROJECT["version"] or record["license"] != PROJECT["license"]:
        yield "version or licence"
    if f'title: "{record["title"]}"' not in citation:
        yield "title"
    if [author["name"] for author in record["creators"]] != [
        author["name"] for author in PROJECT["authors"]
    ]:
        yield "creators"
    listed = re.findall(r"^  - ([^:\n]+)$", citation, re.MULTILINE)
    if record["keywords"] != listed:
        yield "keywords"
    if re.sub(r"<.*?>|\s+", " ", record["description"]).strip() not in " ".join(citation.split()):
        yield "description"
    if record["upload_type"] != "software" or record["access_right"] != "open":
        yield "type"


def test_the_record_for_zenodo_agrees_with_the_package_and_its_citation() -> None:
    record = json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert list(record_faults(record, citation)) == []
    for key in ("version", "title", "description", "upload_type"):
        assert list(record_faults(record | {key: "other"}, citation)), key
    for key in ("keywords", "creators"):
        assert list(record_faults(record | {key: []}, citation)), key


# --------------------------------------------------------------------------------------- image


def image_faults(text: str) -> Iterator[str]:
    """What a Dockerfile does not bring into the image, though the installation needs it."""
    lines = text.splitlines()
    if len(lines) > 10:
        yield f"{len(lines)} lines"
    words = [line.split() for line in lines if not line.startswith("#")]
    known = {"FROM", "ARG", "COPY", "RUN", "WORKDIR", "ENTRYPOINT", "CMD"}
    yield from (f"unknown instruction {row[0]}" for row in words if row[0] not in known)
    copied = [source for row in words if row[0] == "COPY" for source in row[1:-1]]
    yield from (f"{source} is not there" for source in copied if not (ROOT / source).exists())
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}
    yield from sorted((needed | {"sdeflow", *BESIDE}) - set(copied))


def test_the_image_is_made_of_what_the_installation_needs() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert list(image_faults(text)) == []
    python = re.findall(r"^FROM python:(3\.\d+)-slim$", text, re.MULTILINE)
    assert f"Programming Language :: Python :: {python[0]}" in PROJECT["classifiers"]
    for change in ((" LICENSE", ""), ("RUN", "RUNS"), (" sdeflow /", " sdeflows /")):
        assert list(image_faults(text.replace(*change))), change
