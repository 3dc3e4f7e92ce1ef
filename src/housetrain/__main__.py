"""``python -m housetrain`` is the command line."""

from housetrain.cli import main

main()
