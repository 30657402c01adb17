"""Build hook: the run-time dependencies are read from requirements.txt, the one place where they stand."""

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RequirementsHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        lines = Path(self.root, "requirements.txt").read_text(encoding="utf-8").splitlines()
        stripped = (line.split("#")[0].strip() for line in lines)
        metadata["dependencies"] = [requirement for requirement in stripped if requirement]
