"""Every kind of first stage: the records in the files `kind.py`; and what names such as `refit_k256_p4000` say."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from vqddm.artifacts import UserError
from vqddm.registry import FirstStageKind, Registry, records

FIRST_STAGES: Registry[FirstStageKind] = Registry("kind of first stage", records(FirstStageKind, "kind.py"))
NAMES = "|".join(kind.pattern for kind in FIRST_STAGES.values())


def kind_of(first_stage: str) -> FirstStageKind:
    """The kind that a first stage's name begins with.

    Raises:
        UserError: it is no name of a first stage.
    """
    for kind in FIRST_STAGES.values():
        if re.fullmatch(kind.pattern, first_stage):
            return kind
    known = ", ".join(
        kind.name + "".join(f"_{letter}<{letter.upper()}>" for letter in kind.numbers) for kind in FIRST_STAGES.values()
    )
    raise UserError(f"'{first_stage}' is no first stage; there are {known} (numbers for K and P)")


def _known(first_stage: str) -> str:
    try:
        kind_of(first_stage)
    except UserError as error:
        raise ValueError(str(error)) from None
    return first_stage


FirstStageName = Annotated[str, AfterValidator(_known), WithJsonSchema({"pattern": f"^({NAMES})$", "type": "string"})]


def codebook_size(first_stage: str) -> int:
    """The capacity K in a first stage's name, e.g. 256 for `refit_k256_p4000`."""
    return _number(first_stage, "k")


def sampled_features(first_stage: str) -> int:
    """The number P of sampled features in a ReFiT's name, e.g. 4000 for `refit_k256_p4000`."""
    return _number(first_stage, "p")


def begins_with(first_stage: str) -> str:
    """The first stage that another one is fine-tuned from, e.g. `rebuilt_k256_p4000` for `refit_k256_p4000`.

    Raises:
        UserError: it is trained anew.
    """
    kind = kind_of(first_stage)
    if not kind.fine_tunes:
        raise UserError(f"'{first_stage}': a {kind.title} is not fine-tuned from another first stage")
    return kind.fine_tunes + first_stage.removeprefix(kind.name)


def _number(first_stage: str, letter: str) -> int:
    kind = kind_of(first_stage)
    if letter not in kind.numbers:
        raise UserError(f"'{first_stage}': the name of a {kind.title} tells no {letter.upper()}")
    return int(first_stage.split("_")[1 + kind.numbers.index(letter)][1:])
