"""``python -m centrifugo_tx`` is the console script."""

import sys

from .cli import main

sys.exit(main())
