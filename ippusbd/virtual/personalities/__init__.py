"""How real printers misbehave: one class per behaviour."""
