"""IPP-over-USB printers and scanners as network devices on localhost."""

__version__ = "0.1.0"
