"""`sdeflow unclip` trains in a folder, `sdeflow sample --prompt` draws: files and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow.command import cli
from sdeflow.experiment import unclip
from sdeflow.provenance import picture_provenance
from tests.command.test_cli import Command, refused
from tests.command.test_cli import sdeflow as sdeflow  # the fixture

pytest.importorskip("sklearn", reason="the digits come with the extra: sdeflow[images]")

OPTIONS = {"clip_steps": 1, "prior_steps": 1, "decoder_steps": 1, "pool": 100, "clip_channels": 4,
           "decoder_channels": 8, "prior_width": 16}  # fmt: skip
ASKED = ("--prompt", "a seven with a hat", "one", "--scale", "3", "--n", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("words") / "run"
    said = unclip.train(OPTIONS, folder)
    assert "share of held-out digits recognised" in said
    assert str(folder / "pictures.png") in said
    return folder


def test_a_run_keeps_what_it_was_asked_for(made: Path) -> None:
    kept = json.loads((made / "unclip.json").read_text())
    assert kept["made"]["seed"] == 0
    assert {name: kept[name] for name in OPTIONS} == OPTIONS
    assert picture_provenance(made / "pictures.png")["seed"] == "0"
    assert isinstance(unclip.reopen(made), sf.images.UnCLIP)


def test_a_sheet_and_the_pictures_are_written(sdeflow: Command, made: Path) -> None:
    code, out, err = sdeflow("sample", made, *ASKED, "--seed", "4")
    assert (code, err) == (0, "")
    assert out.strip() == str(made / "pictures.png")
    with np.load(made / "pictures.npz") as file:
        x, prompts = torch.from_numpy(file["x"]), file["prompts"].tolist()
    assert prompts == ["a seven with a hat"] * 2 + ["one"] * 2
    wanted = unclip.reopen(made).pictures(prompts, 3.0, 4)
    assert torch.equal(x, wanted.reshape(4, 1, 16, 16))


def test_wrong_words_and_options_are_refused(sdeflow: Command, made: Path, tmp_path: Path) -> None:
    def asked(*options: str) -> tuple[int, str, str]:
        return sdeflow("sample", made, *options)

    assert refused(
        asked("--prompt", "a hatt"), "'hatt' is not in the vocabulary", "similar words are: hat"
    )
    assert refused(asked("--prompt", "one", "--against", "bellt"), "similar words are: belt")
    assert refused(asked("--prompt", ""), "at least one word")
    assert refused(asked(), "give one, such as --prompt")
    assert refused(asked("--prompt", "one", "--steps", "9"), "--steps does not apply")
    assert refused(asked("--prompt", "one", "--n", "0"), "n must be at least 1")
    assert refused(asked("--prompt", "one", "--scale", "nan"), "scale must be finite")
    assert refused(sdeflow("sample", tmp_path, "--prompt", "one"), "holds no unCLIP run")


def test_folders_of_other_runs_are_refused(sdeflow: Command, made: Path, tmp_path: Path) -> None:
    assert refused(sdeflow("unclip", "--out", made, "--seed", "5"), "holds another run")
    assert refused(sdeflow("train", "--out", made), "holds an unCLIP run")
    assert refused(sdeflow("check", made), "holds an unCLIP run", "--prompt TEXT")
    code, out, _ = sdeflow("info", made)
    assert code == 0
    assert "finished" in out
    (tmp_path / "config.json").write_text("{}")
    assert refused(sdeflow("unclip", "--out", tmp_path), "holds another run")


def test_an_unfinished_run_says_how_to_go_on(sdeflow: Command, made: Path, tmp_path: Path) -> None:
    (tmp_path / "unclip.json").write_text((made / "unclip.json").read_text())
    assert refused(
        sdeflow("sample", tmp_path, "--prompt", "one"), "is not finished; continue with"
    )
    (tmp_path / "unclip.json").write_text("{")
    assert refused(sdeflow("sample", tmp_path, "--prompt", "one"), "is damaged")


def test_the_command_has_the_defaults_of_the_package() -> None:
    command, config = cli.Unclip(), sf.images.UnCLIPConfig()
    for name in ("clip_steps", "prior_steps", "decoder_steps", "seed"):
        assert getattr(command, name) == getattr(config, name)
