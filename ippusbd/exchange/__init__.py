"""HTTP exchanges on leased interfaces: clients' requests and our own queries."""
