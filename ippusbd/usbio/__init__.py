"""USB devices, bulk endpoints and leases of IPP-over-USB interfaces."""
