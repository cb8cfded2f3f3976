"""The journal: decisions and effects as hash-chained, fsynced entries; the audit log and the memory of the system.

Entries in, entries out; every service appends through `Recorder`, every projection and the signer read.
"""
