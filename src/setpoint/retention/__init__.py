"""What may go from a home, and why the rest stays; bytes only, the journal never shrinks."""
