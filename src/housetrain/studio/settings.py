"""The studio's settings, passed from the launcher to the page process in an environment variable.

In: the options of `housetrain studio`. Out: `Settings`, in the launcher and in the page. It does not know Streamlit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "HOUSETRAIN_STUDIO"
PASSWORD = "HOUSETRAIN_STUDIO_PASSWORD"
TOKEN = "HOUSETRAIN_STUDIO_TOKEN"
"""Secrets; the server takes them out of its environment."""


@dataclass(frozen=True)
class Settings:
    """The options that the studio was started with.

    Attributes:
        work: The working folder, with ``runs/``, ``prepared/`` and ``sweeps/``, as for the command line.
        data_root: Root of the folders of images that the page may open.
        folder: The folder of images to open first, if one was given.
    """

    work: Path
    data_root: Path
    folder: Path | None = None

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that passes the settings to the page."""
        plain = {name: None if value is None else str(value) for name, value in vars(self).items()}
        return {VARIABLE: json.dumps(plain)}

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of this process; by default all folders are the current one."""
        plain = json.loads((os.environ if environment is None else environment).get(VARIABLE) or "{}")
        here = Path.cwd()
        return cls(
            work=Path(plain.get("work") or here),
            data_root=Path(plain.get("data_root") or here),
            folder=Path(plain["folder"]) if plain.get("folder") else None,
        )

    @property
    def uploads(self) -> Path:
        """Folder of extracted uploads."""
        return self.work / "uploads"

    @property
    def samples(self) -> Path:
        """Folder of sample data sets."""
        return self.work / "sample"

    @property
    def jobs(self) -> Path:
        """Folder of the jobs that the page started."""
        return self.work / ".studio" / "jobs"

    @property
    def scratch(self) -> Path:
        """Folder of temporary files: uploaded photos."""
        return self.work / ".studio"
