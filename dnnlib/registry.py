"""Plug-ins by file name: a new metric, detector, degradation or recipe is a new file."""

import importlib
import pkgutil
from types import ModuleType

from dnnlib.errors import unknown_name


class Registry:
    """The modules of `package`, a folder without other files; a module's name is the plug-in's name, `kind` what it is.

    `Registry("degradations.primitives", "degradation").get("jpeg")` is `degradations/primitives/jpeg.py`.
    """

    def __init__(self, package: str, kind: str):
        self.package = package
        self.kind = kind

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        paths = importlib.import_module(self.package).__path__
        return sorted(module.name for module in pkgutil.iter_modules(paths))

    def get(self, name: str) -> ModuleType:
        """Return the module called `name`; raise UserError with the nearest known name otherwise."""
        if name not in self.names():
            raise unknown_name(self.kind, name, self.names())
        return importlib.import_module(f"{self.package}.{name}")
