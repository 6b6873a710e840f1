"""All tables by name, each from a module of its own."""

from __future__ import annotations

from vqddm.paper.tables import inpainting, likelihood, speed, table1, table2, table3
from vqddm.paper.tables.record import Table
from vqddm.registry import Registry

TABLES: Registry[Table] = Registry(
    "table", [module.TABLE for module in (table1, table2, table3, likelihood, speed, inpainting)]
)
