"""A canary: a new revision gets a growing share of the traffic, step by step, and is sent back when it fails more than the stable one."""
