"""What a machine is good for: whether it computes rightly, how fast, and how near its limits (``scripts/check_machine.py``)."""
