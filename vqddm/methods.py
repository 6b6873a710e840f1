"""Every method that fills code maps or pixels, in the order of the tables."""

from __future__ import annotations

from vqddm.baselines.ddpm.method import DDPM
from vqddm.baselines.transformer.method import TRANSFORMER
from vqddm.prior.method import ABSORBING, PRIOR
from vqddm.registry import Method, Registry

METHODS: Registry[Method] = Registry("method", [PRIOR, TRANSFORMER, ABSORBING, DDPM])
BASELINES: Registry[Method] = Registry("baseline", [method for method in METHODS.values() if method.name != "prior"])
PIXELS = "pixels"  # stands for the first stage of methods that fill pixels, in paths
