"""The training loop: resumes to the bit, refuses foreign states, keeps what it had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.recipes import PRIOR, write_maps
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from vqddm import training
from vqddm.artifacts import UserError
from vqddm.compute import step_generator
from vqddm.prior.train import train_prior
from vqddm.recipe import Recipe, keep_rates_on_card, set_rate
from vqddm.settings import TrainingParams
from vqddm.state import StateFolder
from vqddm.training import Interrupted, LossCurve, batch_indices, train, trains

PARAMS = TrainingParams(steps=12, batch_size=4, precision="no", seed=3)
DATA = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))


class Toy(Recipe):
    """A linear auto-encoder with noise from the step's generator, so that randomness matters."""

    def __init__(self, rate: float = 0.1) -> None:
        torch.manual_seed(0)
        net = nn.Linear(5, 5)
        self.modules: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"net": torch.optim.Adam(net.parameters(), rate)}
        self.stateful: dict = {}

    def learning_rate_factor(self, step):
        return 1.0 - step / PARAMS.steps

    def draw(self, batch, step, generator, accelerator):
        return batch, torch.randn(batch.shape, generator=generator)

    def learn(self, accelerator, *drawn):
        batch, noise = drawn
        loss = (self.modules["net"](batch + 0.1 * noise) - batch).square().mean()
        self.optimizers["net"].zero_grad()
        accelerator.backward(loss)
        self.optimizers["net"].step()
        return {"loss": loss.detach()}

    def validate(self, batch, generator, accelerator):
        noise = torch.randn(batch.shape, generator=generator)
        return (self.modules["net"](batch + 0.1 * noise) - batch).square().mean()

    def checkpoint(self):
        return self.modules["net"].state_dict()


def run(
    folder: Path,
    fetch=lambda i: DATA[i],
    identity=None,
    save_seconds: float = 0.0,
    params: TrainingParams = PARAMS,
    held_out: torch.Tensor | None = DATA[:6],
) -> torch.Tensor:
    recipe = Toy()
    out, curve = folder / "out.pt", folder / "curve.csv"
    with StateFolder(folder / "state", identity or {"rate": 0.1}, save_seconds) as state:
        if not state.take_finished([out, curve]):
            train(recipe, fetch, len(DATA), params, state, curve, held_out)
            torch.save(recipe.modules["net"].weight.detach(), out)
            torch.save(recipe.modules["net"].bias.detach(), folder / "bias.pt")
            state.finish([out, curve])
    return torch.load(out)


@given(st.integers(1, 50), st.integers(1, 10), st.integers(0, 30), st.integers(0, 5))
def test_every_epoch_shows_each_example_at_most_once(count, batch, epoch, seed):
    batch = min(batch, count)
    per_epoch = count // batch
    seen = np.concatenate([batch_indices(count, batch, epoch * per_epoch + i, seed) for i in range(per_epoch)])
    assert len(np.unique(seen)) == len(seen) == per_epoch * batch
    assert set(seen) <= set(range(count))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_the_resumed_training_is_the_same_to_the_bit(tmp_path, number):
    calls = []

    def fetch(index):
        calls.append(index)
        if len(calls) == 5:
            os.kill(os.getpid(), number)
        return DATA[index]

    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path / "cut", fetch, save_seconds=1e9)
    assert stopped.value.code == 128 + number
    before = len(calls)
    resumed = run(tmp_path / "cut", fetch)
    assert len(calls) == PARAMS.steps, f"{before} steps were done before the signal"
    assert torch.equal(whole, resumed)
    assert (tmp_path / "whole/curve.csv").read_bytes() == (tmp_path / "cut/curve.csv").read_bytes()
    assert not list((tmp_path / "cut/state").glob("step-*"))


def test_losses_that_are_read_rarely_are_the_same_curve_and_weights(tmp_path, monkeypatch):
    weights = run(tmp_path / "each")
    monkeypatch.setattr(training, "at_once", lambda device, on_cpu, on_gpu: 5)
    assert torch.equal(run(tmp_path / "fifth"), weights)
    assert (tmp_path / "each/curve.csv").read_bytes() == (tmp_path / "fifth/curve.csv").read_bytes()
    assert {path.name for path in (tmp_path / "fifth/state").iterdir()} == {
        path.name for path in (tmp_path / "each/state").iterdir()
    }


def test_killed_without_warning_it_goes_on_from_the_last_state(tmp_path):
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_training as t
        calls = []
        def fetch(index):
            calls.append(index)
            if len(calls) == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return t.DATA[index]
        t.run(Path({str(tmp_path / "cut")!r}), fetch)
        """
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == -signal.SIGKILL
    kept = sorted(p.name for p in (tmp_path / "cut/state").glob("step-*"))
    assert kept == ["step-000000005", "step-000000006"], "the last state and the one before"
    assert torch.equal(run(tmp_path / "cut"), run(tmp_path / "whole"))


def test_a_half_saved_state_is_ignored(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, lambda i: (os.kill(os.getpid(), signal.SIGTERM), DATA[i])[1], save_seconds=1e9)
    (tmp_path / "state/saving").mkdir()
    (tmp_path / "state/saving/model.safetensors").write_bytes(b"half")
    assert torch.equal(run(tmp_path), run(tmp_path / "whole"))


def test_other_parameters_are_refused_by_name(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, lambda i: (os.kill(os.getpid(), signal.SIGTERM), DATA[i])[1], {"p": {"rate": 0.1}}, 1e9)
    with pytest.raises(UserError, match=r"p\.rate: 0\.1 there, 0\.2 now"):
        run(tmp_path, identity={"p": {"rate": 0.2}})


def test_a_state_that_was_being_deleted_is_not_resumed(tmp_path, monkeypatch):
    """Killed while the finished training's state is deleted: what is left is no state of anything."""
    with pytest.raises(Interrupted):
        run(tmp_path, lambda i: (os.kill(os.getpid(), signal.SIGTERM), DATA[i])[1], save_seconds=1e9)
    state = StateFolder(tmp_path / "state", {"rate": 0.1}, 0)
    monkeypatch.setattr(Path, "unlink", lambda path, **_: 1 / 0)
    with state, pytest.raises(ZeroDivisionError):
        state._drop(state.newest_first())
    monkeypatch.undo()
    assert StateFolder(tmp_path / "state", {"rate": 0.7}, 0).latest() is None


def test_a_full_disk_keeps_the_last_state(tmp_path):
    """A file-size limit stands in for the full disk: torch and safetensors wrap the error in their own."""
    script = textwrap.dedent(
        f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_training as t
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        calls = []
        def fetch(index):
            calls.append(index)
            if len(calls) == 7:
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
            return t.DATA[index]
        try:
            t.run(Path({str(tmp_path / "cut")!r}), fetch)
        except t.UserError as error:
            sys.exit(str(error))
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "could not be saved" in done.stderr
    assert "the last state is kept" in done.stderr
    assert torch.equal(run(tmp_path / "cut"), run(tmp_path / "whole"))


def test_what_others_keep_in_the_state_folder_stays(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/thesis.tex").write_text("mine")
    run(tmp_path)
    assert (tmp_path / "state/thesis.tex").read_text() == "mine"


ELSEWHERE = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_training as t
def fetch(index):
    time.sleep({pause})
    return t.DATA[index]
t.run(Path({folder!r}), fetch)
"""


def elsewhere(folder: Path, pause: float) -> subprocess.Popen[str]:
    """The toy's training in another process, with a pause in each step."""
    script = ELSEWHERE.format(tests=str(Path(__file__).parent), folder=str(folder), pause=pause)
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def test_a_second_training_waits_for_the_first_and_takes_what_it_finished(tmp_path, capfd):
    first = elsewhere(tmp_path, pause=0.3)
    while not list(tmp_path.glob("state/step-*")):
        assert first.poll() is None
        time.sleep(0.01)
    calls = []
    result = run(tmp_path, lambda index: (calls.append(index), DATA[index])[1])
    said = capfd.readouterr().err
    assert f"process {first.pid} on" in said
    assert "waiting for its end" in said
    assert not calls, "nothing was trained twice"
    assert first.wait() == 0
    assert torch.equal(result, run(tmp_path / "whole"))


def test_when_the_first_is_killed_the_second_goes_on_from_its_state(tmp_path):
    first = elsewhere(tmp_path, pause=3)  # it lives until the second has started, on a slow machine too
    while not list(tmp_path.glob("state/step-*")):
        assert first.poll() is None
        time.sleep(0.01)
    second = elsewhere(tmp_path, pause=0)
    assert "waiting for its end" in second.stderr.readline()
    first.kill()
    assert "resuming after step" in second.communicate()[1]
    assert torch.equal(torch.load(tmp_path / "out.pt"), run(tmp_path / "whole"))


def test_a_finished_training_is_taken_only_for_the_same_identity_and_code(tmp_path, monkeypatch):
    calls = []

    def fetch(index):
        calls.append(index)
        return DATA[index]

    whole = run(tmp_path, fetch)
    (tmp_path / "out.pt").unlink()  # as Snakemake does before it runs a step
    (tmp_path / "curve.csv").unlink()
    assert torch.equal(run(tmp_path, fetch), whole)
    assert (tmp_path / "curve.csv").exists()
    assert len(calls) == PARAMS.steps
    run(tmp_path, fetch, {"rate": 0.2})
    assert len(calls) == 2 * PARAMS.steps
    monkeypatch.setattr("vqddm.artifacts.made_with", lambda: {"torch": "another"})
    run(tmp_path, fetch, {"rate": 0.2})
    assert len(calls) == 3 * PARAMS.steps


def test_shortly_before_the_end_of_the_job_the_state_is_saved(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("vqddm.state.deadline", lambda: time.time() - 1)
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, save_seconds=1e9)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "the job's time is nearly over" in capfd.readouterr().err
    monkeypatch.undo()
    assert torch.equal(run(tmp_path), run(tmp_path / "whole"))


def test_states_are_saved_less_often_where_saving_takes_long(tmp_path, monkeypatch):
    state = StateFolder(tmp_path, {}, 0.01)

    class Slow:
        is_main_process = True

        def wait_for_everyone(self): ...

        def save_state(self, folder):
            time.sleep(0.1)
            Path(folder).mkdir()

    with state:
        time.sleep(0.02)
        assert state.due
        state.save(Slow(), 1)
        assert state.save_seconds > 5
        assert not state.due


@pytest.mark.parametrize(("every", "calls_until", "kept"), [(1, 8, 6), (5, 10, 5)])
def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_a_whole_state(
    tmp_path, monkeypatch, every, calls_until, kept
):
    """In the middle of one of the curve's windows of 3 steps, with a state each time that losses are read."""
    monkeypatch.setattr(training, "at_once", lambda device, on_cpu, on_gpu: every)
    params = PARAMS.model_copy(update={"steps": 1500})
    calls = []

    def fetch(index):
        calls.append(index)
        return DATA[index] * (float("nan") if len(calls) == 8 else 1)

    with pytest.raises(UserError, match="step 8: a loss is not finite \\(loss nan\\)") as stopped:
        run(tmp_path, fetch, params=params)
    assert len(calls) == calls_until
    (state,) = (tmp_path / "state").glob("step-*")  # not the one of the step right before, which may be broken
    assert state.name == f"step-{kept:09d}"
    assert f"{state} is kept" in str(stopped.value)
    weights = load_file(state / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_too_few_examples(tmp_path):
    message = "2 training examples are fewer than one batch of 4"
    with StateFolder(tmp_path, {}, 60) as state, pytest.raises(UserError, match=message):
        train(Toy(), lambda i: DATA[i], 2, PARAMS, state, tmp_path / "curve.csv")


def test_the_curve_is_the_mean_over_windows(tmp_path):
    curve = LossCurve(1000)
    values = np.random.default_rng(0).random(1000)
    for step, value in enumerate(values):
        curve.add(step, {"loss": torch.tensor(value)}, 1 / (step + 1))
        assert curve.awaits_validation(step) == ((step + 1) % 50 == 0)
        if step % 7 == 0:
            curve.read()
    read = curve.read()
    assert [step for step, _ in read] == list(range(995, 1000))
    assert [losses["loss"] for _, losses in read] == values[995:].tolist()
    assert [r["step"] for r in curve.rows] == list(range(2, 1001, 2))
    assert [r["learning_rate"] for r in curve.rows] == [1 / step for step in range(2, 1001, 2)]
    np.testing.assert_allclose([r["loss"] for r in curve.rows], values.reshape(-1, 2).mean(1))


@pytest.mark.parametrize("steps", [1, 499, 501, 1001, 1500])
def test_the_curve_is_short_and_reaches_the_last_step(steps):
    curve = LossCurve(steps)
    for step in range(steps):
        curve.add(step, {"loss": torch.tensor(float(step))}, 0.1)
    curve.read()
    assert curve.awaits_validation(steps - 1)
    assert len(curve.rows) <= 500
    assert curve.rows[-1]["step"] == steps


@pytest.mark.parametrize("first", [True, False])
def test_a_curve_may_have_validation_losses_in_a_part_alone(tmp_path, first):
    curve = LossCurve(2)
    for step in range(2):
        curve.add(step, {"loss": torch.tensor(1.0)}, 0.5)
    curve.read()
    curve.rows[0 if first else 1]["validation"] = 3.0
    curve.write(tmp_path / "curve.csv")
    rows = ["1,1.0,0.5,3.0", "2,1.0,0.5,nan"] if first else ["1,1.0,0.5,nan", "2,1.0,0.5,3.0"]
    assert (tmp_path / "curve.csv").read_text().splitlines() == ["step,loss,learning_rate,validation", *rows]


def test_a_curve_goes_on_from_what_an_earlier_version_kept(tmp_path):
    curve = LossCurve(1000)
    curve.load_state_dict({"rows": [], "sums": {"loss": torch.tensor(3.0, dtype=torch.float64)}, "added": 1})
    curve.add(1, {"loss": torch.tensor(1.0)}, 0.5)
    curve.read()
    curve.write(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text() == "step,loss,learning_rate\n2,2.0,0.5\n"


def test_a_state_of_a_recorded_training_goes_on_where_nothing_is_recorded():
    """Its learning rate is a tensor, and its optimiser is told to be recorded, which a CPU's refuses."""
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    keep_rates_on_card({"net": optimizer}, torch.device("cpu"))
    net(torch.ones(2)).sum().backward()
    with pytest.raises(AssertionError, match="capturable"):
        optimizer.step()
    set_rate(optimizer, 0, 0.25)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_the_curve_shows_learning_rate_and_validation_and_they_change_no_weight(tmp_path):
    params = PARAMS.model_copy(update={"steps": 60})
    weights = run(tmp_path / "with", params=params)
    assert torch.equal(weights, run(tmp_path / "without", params=params, held_out=None))
    curve, without = (pd.read_csv(tmp_path / name / "curve.csv") for name in ("with", "without"))
    pd.testing.assert_frame_equal(curve.drop(columns="validation"), without)
    np.testing.assert_allclose(curve["learning_rate"], [0.1 * Toy().learning_rate_factor(s) for s in range(60)])
    assert curve["step"][curve["validation"].notna()].to_list() == [25, 50, 60]

    toy, generator = Toy(), step_generator(PARAMS.seed, 60, "cpu")
    with torch.no_grad():
        toy.modules["net"].weight.copy_(weights)
        toy.modules["net"].bias.copy_(torch.load(tmp_path / "with/bias.pt"))
        batches = [toy.validate(batch, generator, None) * len(batch) for batch in (DATA[:4], DATA[4:6])]
    assert curve["validation"].iloc[-1] == pytest.approx(float(sum(batches)) / 6, rel=1e-6)


def test_validation_examples_of_another_size_are_refused(tmp_path):
    write_maps(tmp_path / "codes.npy")
    np.save(tmp_path / "wide.npy", np.zeros((3, 4, 8), np.uint16))
    made = {name: tmp_path / name for name in ("state", "out", "curve")}
    message = r"wide\.npy: examples of \(4, 8\), but those to train on have \(4, 4\)"
    with pytest.raises(UserError, match=message):
        train_prior(
            codes=tmp_path / "codes.npy", params=PRIOR, codebook_size=6, validation=tmp_path / "wide.npy", **made
        )


def test_a_compiler_that_there_is_not_is_told_before_anything_is_made(monkeypatch, tmp_path):
    command = trains(lambda: pytest.fail("too late"))
    out = {name: tmp_path / name for name in ("state", "out", "curve")}
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "nope")
    with pytest.raises(UserError, match=r"^ACCELERATE_DYNAMO_BACKEND: 'nope' compiles nothing; there are no, e.*"):
        command(**out)
    assert not list(tmp_path.iterdir())
