"""A trained network for others: exported formats, model cards, the Hugging Face Hub."""
