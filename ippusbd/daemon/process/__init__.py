"""The daemon as a process: systemd, instance lock, tuning."""
