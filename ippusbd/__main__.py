"""`python -m ippusbd` is the `ippusbd` command."""

import sys

from ippusbd.cli.main import main

sys.exit(main())
