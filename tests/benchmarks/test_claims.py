"""The claims: each says what was said, measures it by named checks, and can fail."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import CLAIMS, Claim, Finding, Lab, Verdict, records
from benchmarks.claims.claim import GROUPS, PARTS, about, above, at_least, at_most, below, between
from tests.benchmarks.toy_claim import toy

# The lecture shows its paths from N(0, 1), which leaves the data out.
pytestmark = pytest.mark.filterwarnings("ignore:the prior N")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "claims"
QUICK = [c for c in CLAIMS if not c.slow]
SLOW = [c for c in CLAIMS if c.slow]
IDS = (
    [f"F{i}" for i in range(1, 11)]
    + [f"R{i}" for i in range(1, 18)]
    + [f"S{i}" for i in range(1, 15)]
    + [f"M{i}" for i in range(1, 13)]
    + [f"G{i}" for i in range(1, 13)]
    + [f"C{i}" for i in range(1, 8)]
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One laboratory for all, so that networks are trained once."""
    return Lab(0, tmp_path_factory.mktemp("claims"))


def answers(finding: Finding) -> dict[str, bool]:
    """Whether each check holds, by its name."""
    assert len({c.name for c in finding.checks}) == len(finding.checks) > 0
    return {c.name: c.holds for c in finding.checks}


def assert_control_is_noticed(c: Claim, lab: Lab) -> None:
    """A named check that holds for the subject fails for the control.

    Where what was said does not hold, a failed check holds for the control.
    """
    skip_without_its_packages(c)
    record = records.run(c, lab)
    true = {check.name: check.holds for check in record.checks}
    finding = c.measure(lab, c.control)
    control = answers(finding)
    assert true.keys() == control.keys()
    assert len(true) == len(record.checks)
    turned = [name for name in true if true[name] != control[name]]
    print(c.id, record.verdict, "| control:", c.verdict(finding), "| turned:", "; ".join(turned))
    assert turned
    assert c.verdict(finding) != record.verdict


def skip_without_its_packages(c: Claim) -> None:
    """Skip a claim on pictures where the extra `images` is not installed."""
    if c.missing:
        pytest.skip(c.missing)


@pytest.mark.parametrize("c", QUICK, ids=lambda c: c.id)
def test_claim_fails_a_named_check_on_its_control(c: Claim, lab: Lab) -> None:
    assert_control_is_noticed(c, lab)


@pytest.mark.slow  # trains networks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("c", SLOW, ids=lambda c: c.id)
def test_trained_claim_fails_a_named_check_on_its_control(c: Claim, lab: Lab) -> None:
    assert_control_is_noticed(c, lab)


@pytest.mark.parametrize("c", CLAIMS, ids=lambda c: c.id)
def test_claim_states_every_part_but_perhaps_a_correction(c: Claim) -> None:
    assert re.fullmatch(r"[FRSMGC]\d{1,2}", c.id)
    assert c.title.endswith(".")
    assert '"' in c.part("Says")
    for part in {*PARTS} - {"Correction"}:
        assert c.part(part).endswith("."), part


def test_claim_ids_are_complete_and_in_order() -> None:
    assert [c.id for c in CLAIMS] == IDS


def test_claim_file_is_at_most_seventy_five_lines_beside_its_docstring() -> None:
    files = [p for p in FOLDER.glob("*.py") if re.match(r"[frsmgc]\d+_", p.name)]
    assert len(files) == len(IDS)
    for c in CLAIMS:
        assert len(c.source.splitlines()) - len(c.doc.splitlines()) <= 75, c.id


def test_letters_of_the_claims_are_those_of_the_legend() -> None:
    assert list(dict.fromkeys(c.id[0] for c in CLAIMS)) == list(GROUPS)


def test_two_claims_do_not_hold_as_said() -> None:
    found = records.read(ROOT / "docs" / "claims" / records.FILE)
    assert [r.id for r in found if r.verdict is Verdict.FAILS] == ["F7", "G7"]


# ---------------------------------------------------------------------------- checks and bounds


def test_bounds_hold_where_they_say() -> None:
    for bound, inside, outside, text in (
        (about(1.0, 0.25), (0.75, 1.0, 1.25), (0.74, 1.26), "1 +- 0.25"),
        (about(0.0, 0.0), (0.0,), (1e-300, -1e-300), "exactly 0"),
        (at_most(0.1), (0.1, -5.0), (0.11,), "at most 0.1"),
        (at_least(3.0), (3.0, 7.0), (2.99, -4.0), "at least 3"),
        (below(0.1), (0.0999, -5.0), (0.1,), "below 0.1"),
        (above(3.0), (3.01,), (3.0,), "above 3"),
        (between(1.0, 2.0), (1.0, 2.0), (0.9, 2.1), "between 1 and 2"),
    ):
        assert str(bound) == text
        assert all(bound.holds(value) for value in inside), text
        assert not any(bound.holds(value) for value in (*outside, float("nan"))), text


def test_docstring_is_taken_apart() -> None:
    c = toy(4.0)
    assert (c.id, c.title) == ("F1", "Two and two are four.")
    assert [c.part(name) for name in PARTS] == [
        '"four" (000).', "two and two are added.", "", "three in the place of two.", "arithmetic.",
    ]  # fmt: skip


def test_verdict_follows_all_checks_and_the_correction() -> None:
    c = toy(4.0)
    assert c.verdict(c.measure(Lab(), c.subject)) is Verdict.HOLDS
    assert c.verdict(c.measure(Lab(), c.control)) is Verdict.FAILS
    assert c.verdict(c.measure(Lab(2), c.subject)) is Verdict.FAILS  # only the second check fails
    corrected = toy(4.0, "Two.\n\nCorrection: two and a half.")
    assert corrected.verdict(corrected.measure(Lab(), 2.0)) is Verdict.CORRECTED


def test_claim_reproduces_its_numbers_from_its_seed() -> None:
    """Bit for bit, for one claim of each group that is quick."""
    for c in records.chosen(CLAIMS, ["f6", "r12", "s3", "m3", "g2"]):
        a, b = (c.measure(Lab(7), c.subject) for _ in range(2))
        assert (a.checks, a.notes) == (b.checks, b.notes)


SHIFT = 1


def test_field_is_kept_until_what_trains_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant outside the function counts as its text does."""
    lab, made = Lab(0, tmp_path), list[int]()

    def make(seed: int) -> int:
        made.append(SHIFT)
        return seed + SHIFT

    def write(n: int, file: Path) -> None:
        file.write_text(f"{n}")

    def kept() -> int:
        return lab.kept(
            "number",
            make,
            lambda n, file: file.write_text(f"{n}"),
            lambda file: int(file.read_text()),
        )

    assert [kept(), kept()] == [1, 1]
    assert made == [1]
    monkeypatch.setitem(globals(), "SHIFT", 5)
    assert kept() == 5
    assert made == [1, 5]


def test_claim_without_its_packages_says_what_to_install() -> None:
    c = replace(toy(4.0), needs=("no_such_package",))
    assert c.missing == "F1 needs no_such_package: pip install 'sdeflow[images]'"
    assert not toy(4.0).missing
