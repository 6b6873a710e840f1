"""What the command line needs until the functions themselves bear the options' names and defaults. To be deleted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError
from vqddm.paper.plan import Plan

REFERENCES = {
    "vqddm.paper.tables:table": "vqddm.interim:table",
    "vqddm.paper.figures:figure": "vqddm.interim:figure",
}
RENAMED = {
    "prior sample": {"checkpoint": "prior"},
    "prior inpaint": {"checkpoint": "prior"},
    "baselines sample-transformer": {"checkpoint": "transformer"},
    "baselines inpaint-transformer": {"checkpoint": "transformer"},
    "baselines sample-ddpm": {"checkpoint": "ddpm"},
    "evaluate likelihood": {"checkpoint": "prior"},
    "evaluate transformer-likelihood": {"checkpoint": "transformer"},
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "": {
        "seed": 0,
        "save_seconds": 60.0,
        "network": "efficientnet_lite0",
        "draws": 1,
        "temperature": 1.0,
        "eta": 0.0,
        "image": 0,
        "neighbours": 10,
        "encode": "masked",
        "models": Path("models"),
        "say": print,
    },
    "prior sample": {"count": 64},
    "prior inpaint": {"count": 8},
    "baselines sample-transformer": {"count": 64},
    "baselines inpaint-transformer": {"count": 8},
    "baselines sample-ddpm": {"count": 64},
    "evaluate neighbours": {"count": 8},
}


def mended(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the names and defaults of the command line."""
    renamed, defaults = RENAMED.get(name, {}), {**DEFAULTS[""], **DEFAULTS.get(name, {})}
    signature = inspect.signature(function, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        default = parameter.default
        if default is parameter.empty:
            none = None if type(None) in getattr(parameter.annotation, "__args__", ()) else parameter.empty
            default = defaults.get(parameter.name, none)
        new = renamed.get(parameter.name, parameter.name)
        parameters.append(parameter.replace(name=new, default=default, kind=parameter.KEYWORD_ONLY))
    back = {new: old for old, new in renamed.items()}

    @wraps(function)
    def call(**options: Any) -> Any:
        given = {p.name: p.default for p in parameters if p.default is not p.empty} | options
        return function(**{back.get(key, key): value for key, value in given.items()})

    for old, new in renamed.items():
        call.__doc__ = (call.__doc__ or "").replace(f"{old}:", f"{new}:")
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def table(name: str, plan: Plan, root: Path, out: Path) -> None:
    """Write one table as CSV, Markdown and LaTeX."""
    from vqddm.paper.tables import TABLES

    if name not in TABLES:
        raise UserError(f"'{name}' is no table; there are {', '.join(TABLES)}")
    TABLES[name](plan, root, out)


def figure(number: int, plan: Plan, root: Path, out: Path, models: Path = Path("models")) -> None:
    """Draw one figure as PNG and PDF."""
    from vqddm.paper.figures import FIGURES

    if number not in FIGURES:
        raise UserError(f"there is no figure {number}; there are 1 to {max(FIGURES)}")
    FIGURES[number].draw(plan, root, models, out)
