"""How tests are handed out to several processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Modules whose tests share what takes long to make: where there are several test processes, one runs all of a module.
TOGETHER = ("test_cluster.py", "test_docs.py", "test_figures.py", "test_methods.py")


class Together(LoadScopeScheduling):
    """Tests are handed out one by one, but for the modules of `TOGETHER`.

    `--dist loadgroup` would be that, but pytest-xdist 3.8 loses its groups under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        return module if module.endswith(TOGETHER) else nodeid
