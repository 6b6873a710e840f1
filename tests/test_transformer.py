"""The autoregressive prior: causal, the cache changes nothing, completions and NLL against enumeration."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.recipes import TRANSFORMER as PARAMS
from helpers.recipes import paper, write_maps
from scipy.stats import chisquare

from vqddm.artifacts import UserError, read_checkpoint, write_array
from vqddm.baselines.transformer.network import Cache, CodeTransformer
from vqddm.baselines.transformer.raster import complete_codes, exact_bits, next_probs, seen, window_start
from vqddm.baselines.transformer.sampler import load_transformer
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.baselines.transformer.train import TransformerRecipe, train_transformer
from vqddm.evaluate.networks import count_transformer, macs, parameters


def network(codebook_size: int = 6, window: int = 4) -> CodeTransformer:
    """Weights large enough that the codes matter."""
    torch.manual_seed(0)
    found = CodeTransformer(codebook_size, PARAMS.model_copy(update={"window": window})).eval()
    with torch.no_grad():
        for weights in found.parameters():
            weights.normal_(std=0.5, generator=torch.Generator().manual_seed(weights.numel()))
    return found


def test_a_code_sees_what_stands_before_it_and_nothing_else() -> None:
    transformer, codes = network(), torch.randint(6, (1, 16))
    for position in range(16):
        other = codes.clone()
        other[0, position] = (other[0, position] + 1) % 6
        changed = (transformer(codes) - transformer(other)).abs().amax((0, 2)) > 1e-6
        assert not changed[: position + 1].any()
        assert changed[position + 1 :].all()


def test_the_cache_changes_nothing() -> None:
    transformer, codes, cache = network(), torch.randint(6, (3, 16)), Cache()
    before = torch.cat([transformer.begin(codes), codes], 1)
    steps = [transformer.step(before[:, i : i + 1], i, cache) for i in range(16)]
    torch.testing.assert_close(torch.stack(steps, 1), transformer(codes), rtol=1e-4, atol=1e-5)


def test_samples_have_the_probabilities_of_the_chain_rule() -> None:
    transformer, count = network(codebook_size=3, window=2), 20_000
    every = torch.tensor(list(product(range(3), repeat=4))).view(-1, 2, 2)
    chances = 2 ** -(4 * exact_bits(transformer, every))
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    drawn = complete_codes(
        transformer,
        torch.zeros(count, 2, 2, dtype=torch.int64),
        torch.zeros(2, 2, dtype=torch.bool),
        None,
        1.0,
        torch.Generator().manual_seed(0),
    )
    counts = (drawn.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1).bincount(minlength=81).numpy()
    expected = chances.numpy() / float(chances.sum()) * count
    rare = expected < 5
    together = [np.append(x[~rare], x[rare].sum()) for x in (counts, expected)]
    assert chisquare(*together).pvalue > 1e-4


def test_given_codes_stay_and_are_seen_by_those_after_them_alone() -> None:
    transformer, generator = network(), torch.Generator().manual_seed(0)
    codes = torch.randint(6, (4, 4, 4), generator=generator)
    given = torch.zeros(4, 4, dtype=torch.bool)
    given[1, 2] = given[3, 3] = True

    def completed(codes: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return complete_codes(transformer, codes, given, None, 1.0, torch.Generator().manual_seed(1))

    found = completed(codes, given)
    assert torch.equal(found[:, given], codes[:, given])
    other = codes.clone()
    other[:, 3, 3] = (other[:, 3, 3] + 1) % 6
    assert torch.equal(completed(other, given)[:, :3], found[:, :3]), "the last code is too late for all others"
    assert torch.equal(completed(codes, torch.ones(4, 4, dtype=torch.bool)), codes)
    each = torch.stack([torch.ones(4, 4, dtype=torch.bool), given, given, given])
    assert torch.equal(completed(codes, each)[0], codes[0])


def test_the_window_slides_over_a_larger_map() -> None:
    assert [window_start(i, 7, 4) for i in range(7)] == [0, 0, 0, 1, 2, 3, 3]
    transformer, codes = network(), torch.randint(6, (2, 5, 6))
    row, column = 3, 4  # its window: rows 1 to 4, columns 2 to 5
    before = codes[:, 1:5, 2:6].flatten(1)
    index = (row - 1) * 4 + column - 2
    expected = transformer(before)[:, index].double().softmax(-1).detach()
    given = torch.ones(5, 6, dtype=torch.bool)
    given[row, column] = False
    many = codes[:1].expand(20_000, 5, 6)
    drawn = complete_codes(transformer, many, given, None, 1.0, torch.Generator().manual_seed(0))[:, row, column]
    assert chisquare(drawn.bincount(minlength=6).numpy(), expected[0].numpy() * 20_000).pvalue > 1e-4
    whole = exact_bits(transformer, codes)
    nats = torch.zeros(2)
    for row, column in product(range(5), range(6)):
        top, left = window_start(row, 5, 4), window_start(column, 6, 4)
        part = codes[:, top : top + 4, left : left + 4].flatten(1)
        logits = transformer(part)[:, (row - top) * 4 + column - left]
        nats -= logits.log_softmax(-1).gather(1, codes[:, row, column, None])[:, 0].detach()
    torch.testing.assert_close(whole, (nats / 30 / math.log(2)).double(), rtol=1e-4, atol=1e-5)


def test_top_k_and_temperature() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    assert torch.equal(next_probs(logits, 2, 1.0) > 0, torch.tensor([[True, True, False, False]]))
    torch.testing.assert_close(next_probs(logits, None, 0.5), (2 * logits).softmax(-1))
    torch.testing.assert_close(next_probs(logits, 9, 1.0), logits.softmax(-1))
    for coldest in (1e-3, 1e-38, 5e-324):
        assert next_probs(logits, None, coldest).tolist() == [[1, 0, 0, 0]]


def test_training_learns_resumes_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, out = tmp_path / "codes.npy", tmp_path / "transformer.safetensors"
    maps = write_maps(codes)

    def trained(state: str, params: TransformerParams = PARAMS, save_seconds: float = 1e9) -> None:
        train_transformer(
            codes=codes,
            params=params,
            codebook_size=6,
            state=tmp_path / state,
            out=out,
            curve=tmp_path / f"{state}.csv",
            save_seconds=save_seconds,
            threads=1,
        )

    trained("whole")
    tensors, about = read_checkpoint(out, "transformer")
    bits = load_transformer(out).bits_per_code(torch.from_numpy(maps.astype(np.int64)), torch.Generator()).each
    assert float(bits.mean()) < 0.75 * math.log2(6), "a map holds log2(12) bits in 16 codes"
    assert about["latent_size"] == [4, 4]

    class Stop(Exception):
        pass

    step, calls = TransformerRecipe.step, []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == 40:
            raise Stop
        return step(self, *arguments)

    monkeypatch.setattr(TransformerRecipe, "step", failing)
    with pytest.raises(Stop):
        trained("again", save_seconds=0.0)
    monkeypatch.undo()
    trained("again")
    again, _ = read_checkpoint(out, "transformer")
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "whole.csv").read_text()
    with pytest.raises(UserError, match="window is 8, set it lower"):
        trained("large", PARAMS.model_copy(update={"window": 8}))
    write_array(codes, maps + 1)
    with pytest.raises(UserError, match="holds code 6"):
        trained("wrong")


def test_counts_at_the_papers_setting() -> None:
    """Section 4.3's 802 M; multiply-accumulates against the formula for a cached step."""
    paper = PARAMS.model_copy(update={"layers": 24, "width": 1664, "heads": 16, "window": 16})
    with torch.device("meta"):
        transformer = CodeTransformer(1024, paper)
        codes = torch.zeros(1, 256, dtype=torch.int64)
    assert parameters(transformer) / 1e6 == pytest.approx(802, abs=0.5)
    whole = macs(transformer, codes)
    layers, width, length = 24, 1664, 256
    matrices = length * (12 * layers * width**2 + width * 1024)
    attention = 2 * layers * width * length**2
    assert whole == pytest.approx(matrices + attention, rel=0.01)


def test_where_the_window_slides_every_code_is_counted_with_its_whole_window() -> None:
    """As `raster.complete_codes` calls the network, code by code."""
    autoencoder = paper().autoencoder.model_copy(update={"resolution": 80})  # 5 x 5 codes
    codes = torch.zeros(1, 5, 5, dtype=torch.int64)
    windows = [seen(codes, row, column, 4) for row in range(5) for column in range(5)]
    whole = sum(macs(network(), around[:, : index + 1]) for around, index in windows)
    assert count_transformer(autoencoder, 6, PARAMS)["prior"]["macs_per_step"] == whole // 25


def test_a_transformers_cost_is_that_of_all_its_steps() -> None:
    """The mean of the first and the last step against every step counted, and the matrices of a whole map."""
    autoencoder = paper().autoencoder.model_copy(update={"resolution": 64})  # 4 x 4 codes
    found = count_transformer(autoencoder, 32, PARAMS)
    with torch.device("meta"):
        network, codes = CodeTransformer(32, PARAMS), torch.zeros(1, 16, dtype=torch.int64)
    matrices = 12 * PARAMS.layers * PARAMS.width**2 + PARAMS.width * 32
    steps = [matrices + 2 * PARAMS.layers * PARAMS.width * (position + 1) for position in range(16)]
    assert found["prior"]["macs_per_step"] == sum(steps) // 16
    assert found["macs_per_image"] - found["autoencoder"]["decoder_macs"] == sum(steps)
    assert macs(network, codes) == 16 * matrices + 2 * PARAMS.layers * PARAMS.width * 16**2
    quoted = count_transformer(paper().autoencoder, 1024, paper().transformer)
    assert quoted["prior"]["parameters"] / 1e6 == pytest.approx(802, abs=0.5)
