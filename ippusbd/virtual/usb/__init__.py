"""The virtual printer as a USB device."""
