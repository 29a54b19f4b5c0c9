"""Makes a service of ippusbd on a distribution that has no package of it."""
