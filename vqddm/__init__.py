"""VQ-DDM: global context with discrete diffusion in vector quantised modelling, reproduced.

`vqddm.load("faces")` gives a trained model that draws, encodes, decodes and completes pictures. Nothing heavy is
imported before it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqddm.api.model import Model, load
    from vqddm.artifacts import UserError

__all__ = ["Model", "UserError", "load"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "UserError":
        from vqddm.artifacts import UserError

        return UserError
    if name in __all__:
        from vqddm.api import model

        return getattr(model, name)
    raise AttributeError(f"module 'vqddm' has no attribute {name!r}")
