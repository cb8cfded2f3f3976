"""The words every stage uses: digests, ids, clock, reasons, errors, canonical JSON.

Called by every stage; never does I/O, never reads the time, never draws a random number.
"""
