"""Pure: bytes and values in, values out; no clock, no I/O."""
