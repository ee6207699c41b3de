"""`sdeflow train` in a torchrun job: one folder, one voice, the run of one process."""

import contextlib
import io
from pathlib import Path

import torch
from safetensors.torch import load_file

from sdeflow.command.cli import main
from tests.ranks import in_ranks


def _main(*words: str) -> tuple[int, str, str]:
    """The exit code, and what was printed to stdout and stderr."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def _train(folder: Path, steps: int = 12) -> tuple[str, ...]:
    sizes = {"steps": steps, "batch": 33, "width": 8, "depth": 1}
    return ("train", "--out", str(folder), *(f"--{k}={v}" for k, v in sizes.items()))


def test_two_ranks_write_the_run_of_one_process(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert _main(*_train(one))[0] == 0
    first, second = in_ranks(2, _main, *_train(two))
    assert first == (0, f"field: {two / 'field.safetensors'}\n", "")
    assert second == (0, "", "")
    assert {f.name for f in two.iterdir()} == {f.name for f in one.iterdir()}
    weights, others = (load_file(folder / "field.safetensors") for folder in (one, two))
    assert all(torch.allclose(weights[k], others[k], rtol=0, atol=1e-5) for k in weights)
    # One process trains it longer.
    assert _main(*_train(two, 13))[0] == 0


def _refused(folder: Path) -> list[tuple[int, str, str]]:
    return [_main("info"), _main(*_train(folder, 0)), _main("train", "--stepz", "3")]


def test_a_refusal_is_one_sentence_of_one_rank(tmp_path: Path) -> None:
    first, second = in_ranks(2, _refused, tmp_path / "run")
    assert [code for code, *_ in (*first, *second)] == [2] * 6
    told = first[0][2] + second[0][2]
    assert told == (
        "sdeflow: torchrun can share `sdeflow train` and `sdeflow simulate`; start the others "
        "without it\n"
    )
    # The first rank has spoken; a job that fails does not go on to fail otherwise.
    assert first[1][2] + second[1][2] == ""
    assert "--stepz" in first[2][2]
    assert second[2][2] == ""
    assert not list(tmp_path.iterdir())
