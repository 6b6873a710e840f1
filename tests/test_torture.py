"""A small seeded part of `make torture`: the same trials, few of each."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ENVIRONMENT
from torture import report, settings
from torture.damage import damaged
from torture.outcome import Lost, check_refusal, check_words
from torture.processes import Ended
from torture.scratch import called

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.longest
def test_a_small_part_loses_nothing(project: Path, tmp_path: Path) -> None:
    """Kills, bad pictures, archives, settings, states, checkpoints and arrays; then what is done is not done again."""
    (tmp_path / "project").symlink_to(project)
    called("torture.steps", tmp_path, str(project), str(tmp_path / "steps.json"))
    for _ in range(2):
        called("torture.trials", tmp_path, str(tmp_path), "1", "0", "small", "2")
        lines = report.rows(tmp_path / "trials-1-small.jsonl")
        assert not [line for line in lines if line["lost"]], lines
        assert len({(line["kind"], line["what"], line["number"]) for line in lines}) == len(lines)
    found = report.table(lines).set_index(["kind", "what"])
    assert found.loc[("all", "all"), "tried"] >= 30
    assert found.loc[("kill", "all"), "survived"] >= 2


def test_a_loss_is_seen() -> None:
    for code, said in [(0, ""), (None, ""), (-11, ""), (1, "Traceback (most recent call last):"), (1, "no"), (70, "")]:
        with pytest.raises(Lost):
            check_refusal(Ended(code, said, 1.0), [])
    with pytest.raises(Lost, match="names none of"):
        check_refusal(Ended(1, "10 %\nvqddm: something is wrong", 1.0), ["a.png"])
    check_refusal(Ended(1, "10 %\nvqddm: a.png: wrong", 1.0), ["a.png", "b.png"])
    check_words(Ended(0, "whole", 1.0))


def test_what_is_drawn_is_a_function_of_its_seed_and_never_the_whole_file() -> None:
    content = (ROOT / "params.yaml").read_text()
    for number in range(50):
        one, two = (damaged(content.encode(), random.Random(number)) for _ in range(2))
        assert one == two and one[1] != content.encode()
        assert settings.mutated(content, random.Random(number)) == settings.mutated(content, random.Random(number))


def test_the_table_adds_up(tmp_path: Path) -> None:
    line = {"kind": "kill", "what": "a", "number": 0, "tried": 3, "refused": 0, "accepted": 3, "skipped": ""}
    line |= {"lost": 0, "traceback": 0, "why": "", "seconds": 1.4}
    lost = line | {"number": 1, "tried": 1, "accepted": 0, "lost": 1, "why": "gone"}
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join([json.dumps(line), json.dumps(lost), '{"kind": "ki']))
    assert report.write(log, tmp_path / "out", 0, ROOT) == 1
    found = report.table(report.rows(log)).set_index(["kind", "what"])
    assert found.loc[("all", "all"), ["tried", "survived", "lost"]].tolist() == [4, 3, 1]
    assert "| **all** | **all** | **4** | **3** |" in (tmp_path / "out/torture.md").read_text()


def committed() -> report.pd.DataFrame:
    return report.pd.read_csv(ROOT / "results/reliability/torture.csv").set_index(["kind", "what"])


def test_the_committed_run_was_a_whole_one() -> None:
    assert committed().loc[("kill", "all"), "tried"] >= 100
    assert committed().loc[("bad input", "all"), "tried"] >= 300
    assert committed().loc[("full disk", "all"), "tried"] >= 30 and committed().loc[("read-only", "all"), "tried"] >= 30


def test_the_committed_run_had_no_loss() -> None:
    assert committed()["lost"].sum() == 0 and committed()["tracebacks"].sum() == 0


def test_its_help_is_told() -> None:
    command = [sys.executable, "-m", "torture", "--help"]
    done = subprocess.run(command, cwd=ROOT / "tests", env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "--seed" in done.stdout
