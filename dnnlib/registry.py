"""Find things by file name: a new thing is a new file."""

import importlib
import pkgutil
from types import ModuleType

from dnnlib.errors import unknown_name


class Registry:
    """The modules of `package` whose file names begin with `prefix`; what follows is the thing's name.

    `Registry("degradations", "primitive_", "degradation").get("jpeg")` is `degradations/primitive_jpeg.py`.
    """

    def __init__(self, package: str, prefix: str, kind: str):
        self.package, self.prefix, self.kind = package, prefix, kind

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        paths = importlib.import_module(self.package).__path__
        found = [module.name for module in pkgutil.iter_modules(paths)]
        return sorted(name.removeprefix(self.prefix) for name in found if name.startswith(self.prefix))

    def get(self, name: str) -> ModuleType:
        """Return the module called `name`; raise UserError with the nearest known name otherwise."""
        if name not in self.names():
            raise unknown_name(self.kind, name, self.names())
        return importlib.import_module(f"{self.package}.{self.prefix}{name}")
