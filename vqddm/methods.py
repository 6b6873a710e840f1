"""Every method that fills code maps or pixels: the records in the files `method.py`, in the order of the tables."""

from vqddm.registry import Method, Registry, records

METHODS: Registry[Method] = Registry(
    "method", sorted(records(Method, "method.py"), key=lambda method: (method.place, method.name))
)
for _method in METHODS.values():
    METHODS[_method.trained]  # says it where there is none
BASELINES: Registry[Method] = Registry("baseline", [method for method in METHODS.values() if method.name != "prior"])
PIXELS = "pixels"  # stands for the first stage of methods that fill pixels, in paths
