"""The ledger: every claim says what was said, measures it, and can fail."""

import re
from pathlib import Path

import pytest

from sdeflow.claims import CLAIMS, Claim, Lab

ROOT = Path(__file__).resolve().parents[1]
QUICK = [c for c in CLAIMS if not c.slow]
SLOW = [c for c in CLAIMS if c.slow]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One laboratory for all, so that networks are trained once."""
    return Lab(0, tmp_path_factory.mktemp("claims"))


def check(c: Claim, lab: Lab) -> None:
    """The true subject and the broken one get different verdicts."""
    record = c.run(lab)
    broken = c.measure(lab, c.broken)
    print(
        c.id, record.verdict, record.value, record.floor, "| broken:", c.rule(broken), broken.value
    )
    assert c.rule(broken) != record.verdict


@pytest.mark.parametrize("c", QUICK, ids=lambda c: c.id)
def test_a_claim_fails_when_its_subject_is_broken(c: Claim, lab: Lab) -> None:
    check(c, lab)


@pytest.mark.slow  # trains networks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("c", SLOW, ids=lambda c: c.id)
def test_a_claim_about_a_network_fails_when_its_subject_is_broken(c: Claim, lab: Lab) -> None:
    check(c, lab)


@pytest.mark.parametrize("c", CLAIMS, ids=lambda c: c.id)
def test_a_claim_says_what_was_said_and_where(c: Claim) -> None:
    assert re.fullmatch(r"[FRSMG]\d{1,2}", c.id)
    assert c.title.endswith(".")
    assert '"' in c.part("Says")
    assert c.part("Source")
