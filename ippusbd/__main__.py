"""`python -m ippusbd` is the `ippusbd` command."""

import sys

from ippusbd.cli import main

sys.exit(main())
