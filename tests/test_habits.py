"""What lets others join: the workflow of the host, templates, oldest versions, the citation.

Each rule is also run on a text that breaks it.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="the files of the host are YAML")

ROOT = Path(__file__).resolve().parents[1]
HOST = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


def workflow_faults(text: str, makefile: str) -> Iterator[str]:
    """What a host would refuse, and commands of `make` that are not there."""
    flow: dict[Any, Any] = yaml.safe_load(text)
    flow["on"] = flow.pop(True, flow.get("on"))  # YAML 1.1 reads `on` as a truth value
    known = {"name", "on", "permissions", "concurrency", "env", "jobs", "defaults", "run-name"}
    yield from (f"unknown key {key}" for key in flow.keys() - known)
    if not flow["on"]:
        yield "nothing starts it"
    for name, job in (flow.get("jobs") or {"": {}}).items():
        if not job.get("runs-on") or not job.get("steps"):
            yield f"job {name!r} has no machine or no steps"
        for step in job.get("steps", ()):
            if ("uses" in step) == ("run" in step):
                yield f"a step of {name} must either use or run"
            if "@" not in step.get("uses", "@"):
                yield f"{step['uses']} has no version"
            for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
                if target not in targets(makefile):
                    yield f"make {target} is not there"


@pytest.mark.parametrize("file", sorted((HOST / "workflows").glob("*.yml")), ids=lambda f: f.name)
def test_workflows_are_valid_and_call_make(file: Path) -> None:
    text = file.read_text("utf-8")
    assert list(workflow_faults(text, MAKEFILE)) == []
    assert re.search(r"\bmake ([a-z-]+)", text)


def test_the_workflow_runs_every_python_the_oldest_versions_and_the_site() -> None:
    text = (HOST / "workflows" / "test.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert re.search(rf"python-version: \"{pythons[0]}\"", text), "the oldest versions' Python"
    assert {"make test", "make test-oldest", "make docs"} <= set(re.findall(r"make [a-z-]+", text))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("make test ", "make tests "), "make tests is not there"),
        (("actions/checkout@v4", "actions/checkout"), "has no version"),
        (("runs-on", "runs_on"), "no machine"),
        (("- run: make", "- uses: a@v1\n        run: make"), "either use or run"),
        (("jobs:", "job:"), "unknown key job"),
    ],
)
def test_a_broken_workflow_is_caught(change: tuple[str, str], fault: str) -> None:
    text = (HOST / "workflows" / "test.yml").read_text("utf-8").replace(*change)
    assert fault in "\n".join(workflow_faults(text, MAKEFILE))


def form_faults(text: str) -> Iterator[str]:
    form = yaml.safe_load(text)
    yield from (f"no {key}" for key in {"name", "description", "body"} - form.keys())
    ids = [part.get("id") for part in form.get("body", ()) if part["type"] != "markdown"]
    if len(set(ids)) < len(ids):
        yield "an id stands twice"
    for part in form.get("body", ()):
        if part["type"] not in {"markdown", "textarea", "input", "dropdown", "checkboxes"}:
            yield f"unknown type {part['type']}"
        if part["type"] != "markdown" and not part.get("attributes", {}).get("label"):
            yield "a field without a label"


def test_issue_forms_are_valid() -> None:
    forms = [f for f in sorted((HOST / "ISSUE_TEMPLATE").glob("*.yml")) if f.stem != "config"]
    assert len(forms) == 2
    for form in forms:
        assert list(form_faults(form.read_text("utf-8"))) == [], form.name
    text = forms[0].read_text("utf-8")
    for change in (
        ("description:", "about:"),
        ("id: found", "id: program"),
        ("label: What", "x: W"),
    ):
        assert list(form_faults(text.replace(*change))), change
    assert (HOST / "PULL_REQUEST_TEMPLATE.md").read_text("utf-8").count("- [ ]") >= 3


# ---------------------------------------------------------------------------- oldest versions


def pins(constraints: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([\w.]+)$", constraints, re.MULTILINE))


def bound_faults(asked: list[str], pinned: dict[str, str]) -> Iterator[str]:
    """Requirements whose oldest version is not the one that is installed for the test of it."""
    for requirement in asked:
        name, _, least = requirement.partition(">=")
        got = pinned.get(name, "")
        if not re.fullmatch(rf"{re.escape(least)}(\.0)*", got):
            yield f"{requirement} is tested with {got or 'nothing'}"


def test_the_oldest_versions_are_those_that_pyproject_allows() -> None:
    pinned = pins((ROOT / "constraints-oldest.txt").read_text("utf-8"))
    torch = re.findall(r"^TORCH \?= ([\d.]+)$", MAKEFILE, re.MULTILINE)
    tools = re.findall(r"^OLDEST_TOOLS := (.*)$", MAKEFILE, re.MULTILINE)[0].split()
    extra = [r for r in PROJECT["optional-dependencies"]["test"] if r.split(">=")[0] in tools]
    assert len(extra) == len(tools)
    asked = [*PROJECT["dependencies"], *extra, *PROJECT["optional-dependencies"]["files"]]
    assert list(bound_faults(asked, pinned | {"torch": torch[0]})) == []
    assert len(list(bound_faults(["numpy>=1.25"], pinned))) == 1
    assert len(list(bound_faults(["unheard-of>=1"], pinned))) == 1


# ---------------------------------------------------------------------------- version, citation

NEEDED = {"cff-version", "message", "title", "authors"}


def test_the_citation_is_valid_and_of_this_version() -> None:
    cite = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cite.keys() >= NEEDED
    assert all(author.keys() & {"name", "family-names"} for author in cite["authors"])
    assert cite["type"] == "software"
    assert cite["license"] == PROJECT["license"]
    assert str(cite["version"]) == PROJECT["version"]


def test_the_release_notes_begin_with_this_version() -> None:
    notes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## \[([\d.]+)\]", notes, re.MULTILINE)[0] == PROJECT["version"]
