"""What the studio was started with, and how it reaches the page: through the environment of the page's process.

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


@dataclass(frozen=True)
class Settings:
    """What the studio was started with.

    Attributes:
        work: The working folder: ``runs/``, ``prepared/`` and ``sweeps/`` lie in it, as for the command line.
        data_root: Folders of images are chosen below this one, and nowhere else.
        folder: The folder of images to begin with, if one was given.
    """

    work: Path
    data_root: Path
    folder: Path | None = None

    def to_environment(self) -> dict[str, str]:
        """Return the variable that carries the settings to the page."""
        plain = {name: None if value is None else str(value) for name, value in vars(self).items()}
        return {VARIABLE: json.dumps(plain)}

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of this process; without any, everything is the current folder."""
        plain = json.loads((os.environ if environment is None else environment).get(VARIABLE) or "{}")
        here = Path.cwd()
        return cls(
            work=Path(plain.get("work") or here),
            data_root=Path(plain.get("data_root") or here),
            folder=Path(plain["folder"]) if plain.get("folder") else None,
        )

    @property
    def uploads(self) -> Path:
        """Where uploaded images are unpacked."""
        return self.work / "uploads"

    @property
    def samples(self) -> Path:
        """Where ready-made data sets are made."""
        return self.work / "sample"

    @property
    def jobs(self) -> Path:
        """Where the notes of the processes lie that the page started."""
        return self.work / ".studio" / "jobs"

    @property
    def scratch(self) -> Path:
        """Where photos lie while they are looked at, and drawings of models are kept."""
        return self.work / ".studio"
