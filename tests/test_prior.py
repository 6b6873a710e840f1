"""Training and sampling of the prior: unbiased weights, resumption to the same bytes, learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from helpers.recipes import PRIOR as PARAMS
from helpers.recipes import trained_prior, write_maps
from scipy.stats import chisquare
from torch import Tensor

from vqddm import training
from vqddm.artifacts import UserError, read_checkpoint, write_array
from vqddm.batches import Plan, draw_batches, forget_batches, join_batches, numbers_of, plan_batches
from vqddm.prior import sampler as sampling
from vqddm.prior.reverse import sample_codes
from vqddm.prior.sampler import load_prior
from vqddm.prior.timesteps import SIZE, UNIFORM, LossHistory
from vqddm.prior.train import PriorRecipe
from vqddm.samplers import Sampling


def filled_history(timesteps: int) -> LossHistory:
    """A warm history with unequal losses."""
    history = LossHistory(timesteps)
    losses = torch.rand(SIZE, timesteps, generator=torch.Generator().manual_seed(0)) * torch.arange(timesteps)
    for row in losses:
        history.update(torch.arange(1, timesteps + 1), row)
    return history


def test_t_is_uniform_until_each_was_seen_ten_times() -> None:
    history = filled_history(7)
    cold = LossHistory(7)
    for _ in range(SIZE + 5):
        cold.update(torch.arange(2, 8), torch.arange(1, 7).float())
    for _ in range(SIZE - 1):
        cold.update(torch.tensor([1]), torch.tensor([1.0]))
    t, weight = cold.draw(7000, torch.Generator().manual_seed(0))
    assert chisquare(t.bincount(minlength=8)[1:].numpy()).pvalue > 1e-4
    torch.testing.assert_close(weight, torch.ones(7000))
    expected = history.losses.double().square().mean(1).sqrt()
    expected = (1 - UNIFORM) * expected / expected.sum() + UNIFORM / 7
    torch.testing.assert_close(history.distribution().double(), expected)


def test_weights_make_the_loss_unbiased() -> None:
    """Against the plain mean over t, for losses that are not those of the history; and exactly, by summing."""
    history = filled_history(9)
    losses = torch.linspace(5, 1, 9)
    q = history.distribution().double()
    t, weight = history.draw(200_000, torch.Generator().manual_seed(0))
    assert t.min() == 1 and t.max() == 9
    found = weight.double() * losses[t - 1]
    error = float(found.std()) / 200_000**0.5
    assert abs(float(found.mean()) - 3) < 4 * error
    weight_of = torch.stack([weight[t == k][0] for k in range(1, 10)]).double()
    assert float((q * weight_of * losses).sum()) == pytest.approx(3, rel=1e-6)


def test_stratified_timesteps_have_the_same_distribution_and_are_spread_evenly() -> None:
    history, count = filled_history(9), 64
    q = history.distribution().double()
    history.stratified = True
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([history.draw(count, generator)[0] for _ in range(400)])
    counts = torch.stack([row.bincount(minlength=10)[1:] for row in draws]).double()
    assert (counts - count * q).abs().max() < 2, "a batch has each t as often as it should, but for the next integers"
    first = draws[:, 0].bincount(minlength=10)[1:]
    assert chisquare(first.numpy(), (400 * q / q.sum()).numpy()).pvalue > 1e-4, "its order says nothing about t"


def test_history_keeps_the_ten_most_recent_with_duplicates() -> None:
    """Against lists, with more than 10 of the same t in one batch among the updates."""
    rng = np.random.default_rng(0)
    history, lists = LossHistory(3), {t: [] for t in range(1, 4)}
    for size in (1, 4, 40, 7, 25, 2):
        t, losses = rng.integers(1, 4, size=size), rng.random(size).astype(np.float32)
        for a, b in zip(t.tolist(), losses.tolist(), strict=True):
            lists[a].append(b)
        history.update(torch.from_numpy(t), torch.from_numpy(losses))
    for t, values in lists.items():
        assert history.seen[t - 1] == len(values)
        assert sorted(history.losses[t - 1].tolist()) == sorted(values[-SIZE:])
    again = LossHistory(3)
    again.load_state_dict(history.state_dict())
    torch.testing.assert_close(again.distribution(), history.distribution(), rtol=0, atol=0)
    for copy in (again, history):
        copy.update(torch.tensor([2, 2]), torch.tensor([0.5, 0.25]))
    assert torch.equal(again.losses, history.losses) and torch.equal(again.seen, history.seen)


def test_a_batch_in_small_parts_gives_the_same_training(tmp_path: Path) -> None:
    curves = []
    for micro_batch in (None, 3):
        folder = tmp_path / str(micro_batch)
        folder.mkdir()
        write_maps(folder / "codes.npy")
        trained_prior(folder, micro_batch=micro_batch)
        curves.append(np.loadtxt(folder / "prior.csv", delimiter=",", skiprows=1))
    np.testing.assert_allclose(*curves, rtol=1e-4)


def test_training_learns_and_samples_look_like_the_data(tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "codes.npy")
    longer = PARAMS.training.model_copy(update={"steps": 400})
    path = trained_prior(tmp_path, PARAMS.model_copy(update={"training": longer, "ema_decay": 0.98}))
    prior = load_prior(path)
    assert prior.shape == (4, 4) and prior.codebook_size == 6 and not prior.network.training
    assert (tmp_path / "prior.csv").exists() and not list((tmp_path / "state").glob("step-*"))
    codes = torch.from_numpy(maps[:50].astype(np.int64))
    bits = float(prior.bits_per_code(codes, torch.Generator().manual_seed(0)).each.mean())
    ideal = np.log2(12) / 16  # 12 equally likely maps of 16 codes
    assert ideal < bits < 0.5 * np.log2(6)
    generator = torch.Generator().manual_seed(0)
    drawn = {steps: prior.draw(400, Sampling(steps), generator, lambda: None) for steps in (12, 4)}
    known = {m.tobytes() for m in maps}
    shares = {steps: np.mean([m.numpy().tobytes() in known for m in z]) for steps, z in drawn.items()}
    assert shares[12] > 0.5 and shares[4] > 0.05  # by chance it would be 4e-12


def test_learning_rate_rises_then_falls_as_a_cosine() -> None:
    params = PARAMS.model_copy(update={"warmup_steps": 4})
    factors = [PriorRecipe(6, params, torch.device("cpu")).learning_rate_factor(step) for step in range(31)]
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(31) / 30))
    np.testing.assert_allclose(factors, cosine * np.minimum(1, np.arange(1, 32) / 5), atol=1e-12)
    assert PriorRecipe(6, PARAMS, torch.device("cpu")).learning_rate_factor(0) == 1


def test_clipping_bounds_the_gradient_and_nothing_else() -> None:
    """The same step with a bound far above and far below the gradient's norm, and without one."""
    norms = {}
    for clip in (None, 1e6, 1e-3):
        accelerator = Accelerator(cpu=True)
        torch.manual_seed(0)
        recipe = PriorRecipe(6, PARAMS.model_copy(update={"gradient_clip": clip}), torch.device("cpu"))
        recipe.optimizers["network"] = accelerator.prepare(recipe.optimizer)
        recipe.step(torch.zeros(32, 4, 4, dtype=torch.int64), 0, torch.Generator().manual_seed(0), accelerator)
        gradients = [p.grad for p in recipe.network.parameters() if p.grad is not None]
        norms[clip] = float(torch.stack([g.norm() for g in gradients]).norm())
    assert norms[None] == norms[1e6] > 0.01
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_interrupted_training_gives_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after step 20, with the history warm; average and history go on as if nothing had happened."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        write_maps(folder / "codes.npy")
    expected, _ = read_checkpoint(trained_prior(whole), "prior")
    fetched = {"count": 0}
    batch_indices = training.batch_indices

    def stop_at_21(*args: int) -> np.ndarray:
        fetched["count"] += 1
        if fetched["count"] == 21:
            raise KeyboardInterrupt
        return batch_indices(*args)

    monkeypatch.setattr(training, "batch_indices", stop_at_21)
    with pytest.raises(KeyboardInterrupt):
        trained_prior(parts, save_seconds=0)
    monkeypatch.setattr(training, "batch_indices", batch_indices)
    assert not (parts / "prior.safetensors").exists()
    found, _ = read_checkpoint(trained_prior(parts), "prior")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_average_is_what_is_kept(tmp_path: Path) -> None:
    """With a decay of nearly 1 the kept weights stay nearer to the first ones than the last ones do."""
    checkpoints = {}
    for decay in (0.0, 0.999):
        folder = tmp_path / str(decay)
        write_maps(folder / "codes.npy")
        checkpoints[decay], _ = read_checkpoint(
            trained_prior(folder, PARAMS.model_copy(update={"ema_decay": decay})), "prior"
        )
    gates = [name for name in checkpoints[0.0] if name.endswith("gate")]  # they start at 0
    sizes = {decay: sum(float(c[name].abs().sum()) for name in gates) for decay, c in checkpoints.items()}
    assert 0 < sizes[0.999] < 0.5 * sizes[0.0]


def test_wrong_codes_are_user_errors(tmp_path: Path) -> None:
    path = tmp_path / "codes.npy"
    for array, message in (
        (np.full((40, 4, 4), 6, np.uint16), "holds code 6, but the codebook has 6"),
        (np.zeros((40, 4, 4), np.float32), "no code maps"),
        (np.zeros((40, 4, 5), np.uint16), "multiples of 2"),
    ):
        write_array(path, array)
        with pytest.raises(UserError, match=message):
            trained_prior(tmp_path)


def planned(state: Path, count: int = 10, seed: int = 0, settings: tuple[int, ...] = ()) -> Plan:
    """Batches of four."""
    return plan_batches(count=count, batch_size=4, seed=seed, settings=[*settings], state=state, device="cpu")


def noise(size: int, generator: torch.Generator, tick: Callable[[], object]) -> Tensor:
    tick()
    return torch.randint(2**15, (size, 3), generator=generator, dtype=torch.int32)


def drawn_in(state: Path, *shards: str) -> bytes:
    """The examples of `planned(state)`, drawn in these shards."""
    plan = planned(state)
    for shard in shards:
        draw_batches(plan, noise, ticks=1, numbers=numbers_of(shard, plan))
    join_batches(plan, state / "all.npy")
    return (state / "all.npy").read_bytes()


def test_any_number_of_shards_in_any_order_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = drawn_in(tmp_path / "1", "1-of-1")
    assert len(planned(tmp_path).sizes) == 3
    for shards in (2, 3, 5):  # five: two of them have nothing to do
        names = [f"{which}-of-{shards}" for which in range(shards, 0, -1)]
        assert drawn_in(tmp_path / str(shards), *names) == whole
    assert drawn_in(tmp_path / "mixed", "2-of-2", "1-of-5", "1-of-1") == whole
    for name in ("3-of-2", "0-of-2", "2", "1-of-0", "a-of-b", "../1-of-1"):
        with pytest.raises(UserError, match="the second of eight is called 2-of-8"):
            numbers_of(name, planned(tmp_path))


def test_a_drawn_batch_is_taken_if_it_is_of_the_same_settings(tmp_path: Path) -> None:
    whole = drawn_in(tmp_path / "whole", "1-of-1")
    state, drawn = tmp_path / "state", []

    def counted(*args: Any) -> Tensor:
        drawn.append(args[0])
        return noise(*args)

    for other in (planned(state, seed=1), planned(state, settings=(3,)), planned(state, count=9)):
        draw_batches(other, counted, ticks=1, numbers=[0])
    assert drawn == [4, 4, 4]
    plan = planned(state)
    draw_batches(plan, counted, ticks=1, numbers=[2])
    with pytest.raises(UserError, match=r"00000.npy: no such file"):
        join_batches(plan, tmp_path / "out.npy")
    draw_batches(plan, counted, ticks=1)
    assert drawn == [4, 4, 4, 2, 4, 4]
    join_batches(plan, tmp_path / "out.npy")
    assert (tmp_path / "out.npy").read_bytes() == whole


def test_a_batch_of_other_code_or_packages_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(tmp_path).files
    assert planned(tmp_path).files == before
    monkeypatch.setattr("vqddm.artifacts.made_with", lambda: {"torch": "another"})
    assert not set(planned(tmp_path).files) & set(before)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"edited")
    assert not set(planned(tmp_path).files) & set(before)


def test_a_damaged_batch_is_not_joined(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    draw_batches(plan, noise, ticks=1)
    before = plan.files[1].read_bytes()
    for damaged, words in ((before[:-20], "not a whole .npy file"), (plan.files[2].read_bytes(), "2 examples, but")):
        plan.files[1].write_bytes(damaged)
        with pytest.raises(UserError, match=f"00001.npy: {words}.*delete it"):
            join_batches(plan, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
    plan.files[1].unlink()
    draw_batches(plan, noise, ticks=1)
    assert plan.files[1].read_bytes() == before


def test_killed_sampling_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_maps(tmp_path / "codes.npy")
    prior = trained_prior(tmp_path)

    def run(name: str, seed: int = 0) -> bytes:
        sampler, how = load_prior(prior), Sampling(steps=3)
        plan = planned(tmp_path / f"{name}.partial", seed=seed)
        draw_batches(plan, lambda size, generator, tick: sampler.draw(size, how, generator, tick), ticks=3)
        join_batches(plan, tmp_path / f"{name}.npy")
        return (tmp_path / f"{name}.npy").read_bytes()

    calls = {"count": 0}

    def killed(*args: object) -> torch.Tensor:
        calls["count"] += 1
        if calls["count"] == 3:
            raise KeyboardInterrupt
        return sample_codes(*args)  # type: ignore[arg-type]

    whole = run("whole")
    monkeypatch.setattr(sampling, "sample_codes", killed)
    with pytest.raises(KeyboardInterrupt):
        run("parts")
    assert not (tmp_path / "parts.npy").exists()
    assert run("parts", seed=0) == whole and calls["count"] == 4  # two batches, the kill, the last batch
    maps = np.load(tmp_path / "parts.npy")
    assert maps.shape == (10, 4, 4) and maps.dtype == np.uint16 and maps.max() < 6
    assert run("other", seed=1) != whole
    (kept,) = (tmp_path / "parts.partial").iterdir()
    (kept / "notes.txt").write_text("the user's")
    forget_batches(tmp_path / "parts.partial")
    assert [file.name for file in (tmp_path / "parts.partial").rglob("*") if file.is_file()] == ["notes.txt"]


def test_weights_are_in_bf16_where_trained_so_and_the_cpu_has_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The NLL does not notice."""
    maps = write_maps(tmp_path / "codes.npy")
    path, read = trained_prior(tmp_path), sampling.load_network
    codes = torch.from_numpy(maps[:50].astype(np.int64))

    def bits(precision: str, units: bool) -> tuple[Tensor, torch.dtype]:
        def loaded(*args: Any) -> Any:
            network, about = read(*args)
            network.precision = precision
            return network, about

        monkeypatch.setattr(sampling, "load_network", loaded)
        monkeypatch.setattr(sampling, "bf16_units", lambda: units)
        prior = load_prior(path)
        found = prior.bits_per_code(codes, torch.Generator().manual_seed(0)).each
        return found, prior.network.unet.embedding.weight.dtype

    wanted, _ = bits("no", False)
    for precision, units in (("bf16", False), ("no", True)):
        found, dtype = bits(precision, units)
        assert torch.equal(found, wanted) and dtype == torch.float32
    found, dtype = bits("bf16", True)
    assert dtype == torch.bfloat16 and not torch.equal(found, wanted)
    assert abs(float((found - wanted).mean())) < 0.05 * float(wanted.std() / 50**0.5)


def test_temperature_sharpens(tmp_path: Path) -> None:
    """Nearly 0: the likeliest code only, so with one step from T all positions are functions of z_T."""
    write_maps(tmp_path / "codes.npy")
    prior = load_prior(trained_prior(tmp_path))
    spread = {}
    for temperature in (0.01, 1.0, 100.0):
        generator = torch.Generator().manual_seed(0)
        z = prior.draw(400, Sampling(12, temperature), generator, lambda: None).long()
        shares = z.flatten().bincount(minlength=6) / z.numel()
        agree = (z[:, :, 0] == z[:, :, 1]).double().mean()
        spread[temperature] = (float(agree), float(shares.max()))
    assert spread[0.01][0] > spread[1.0][0] > spread[100.0][0]
    assert spread[100.0][0] == pytest.approx(1 / 6, abs=0.05)
