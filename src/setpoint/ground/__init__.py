"""What every stage stands on: the journal, and who may do what."""
