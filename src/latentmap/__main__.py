"""Run the command as a module: python -m latentmap."""

import sys

from latentmap.cli import main

sys.exit(main())
