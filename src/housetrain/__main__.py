"""``python -m housetrain`` is the command line."""

import os
import sys

# Python puts the working folder first, but a module there may come with the images: `pathlib` is not yet imported.
_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if not sys.flags.safe_path and sys.path[0] == os.getcwd() != _package:  # noqa: PTH109
    del sys.path[0]

from housetrain.cli import main  # noqa: E402

main()
