"""Records: what is wrong with one is said when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import get_args

import pytest

from vqddm.artifacts import UserError
from vqddm.data.sources import Source
from vqddm.first_stages import FIRST_STAGES
from vqddm.methods import METHODS
from vqddm.paper.figures import FIGURES
from vqddm.paper.tables import TABLES
from vqddm.registry import Registry, record_in
from vqddm.samplers import Process

REPLACED: dict[str, tuple[Callable[[], object], str]] = {
    "a first stage's function": (
        lambda: dataclasses.replace(FIRST_STAGES["dvae"], train="vqddm.baselines.dvae.train:train_dvea"),
        "`vqddm.baselines.dvae.train:train_dvea`: vqddm.baselines.dvae.train defines no train_dvea",
    ),
    "a first stage's module": (
        lambda: dataclasses.replace(FIRST_STAGES["dvae"], model="vqddm.baselines.dvea.model:DVAE"),
        "there is no module vqddm.baselines.dvea.model",
    ),
    "a method's function": (lambda: dataclasses.replace(METHODS["ddpm"], load="vqddm.artifacts"), "defines no such"),
    "what a method fills": (
        lambda: dataclasses.replace(METHODS["ddpm"], fills="tokens"),
        "fills 'tokens'; it must be one of codes, pixels",
    ),
    "a method's work": (
        lambda: dataclasses.replace(METHODS["ddpm"], commands={"sampel": "ddpm sample"}),
        "'sampel' is no kind of work; there are train, sample",
    ),
    "a method that cannot be trained": (
        lambda: dataclasses.replace(METHODS["ddpm"], commands={"sample": "ddpm sample"}),
        "has no command for 'train'",
    ),
    "another sampler of nothing": (
        lambda: dataclasses.replace(METHODS["ddpm"], sampler="renoise"),
        "`of` and `sampler` go together",
    ),
    "a source": (lambda: Source("discs", "vqddm.data.faces:open_discs"), "vqddm.data.faces defines no open_discs"),
    "a table's section": (lambda: dataclasses.replace(TABLES["table1"], section="4.1"), "there are 1, 3, 4.2"),
    "a table's caption": (lambda: dataclasses.replace(TABLES["table1"], name="tabel1"), "tabel1 has no caption"),
    "a figure's caption": (lambda: dataclasses.replace(FIGURES[3], number=33), "figure33 has no caption"),
    "two of one name": (lambda: Registry("table", [TABLES["table1"]] * 2), "two records of a table are called table1"),
    "a module without its record": (lambda: record_in("vqddm.paper.page", "TABLE"), "vqddm.paper.page: has no TABLE"),
    "a module that is not there": (lambda: record_in("vqddm.paper.pgae", "TABLE"), "vqddm.paper.pgae: ModuleNotFound"),
}


@pytest.mark.parametrize("wrong", REPLACED)
def test_what_is_wrong_with_a_record_is_one_sentence(wrong: str) -> None:
    make, words = REPLACED[wrong]
    with pytest.raises(UserError) as told:
        make()
    assert words in str(told.value) and "\n" not in str(told.value)


def test_samplers_are_those_that_there_are_and_draw_from_what_is_trained() -> None:
    others = [method for method in METHODS.values() if method.of]
    assert [method.name for method in others] == ["renoise"]
    for method in others:
        assert method.sampler in get_args(Process) and not METHODS[method.of].of
        assert (method.settings, method.train, method.load) == (
            METHODS[method.of].settings,
            METHODS[method.of].train,
            METHODS[method.of].load,
        )
