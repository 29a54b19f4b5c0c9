"""HTTP from clients to leased interfaces and back."""
