"""How an unresponsive printer is detected, judged and recovered."""
