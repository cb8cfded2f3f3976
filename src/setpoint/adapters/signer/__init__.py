"""The signer: a process of its own that holds the role keys and signs only what journal, Git and bytes say (law 8).

`client` is what the server holds, `process` is the program, `protocol` is what they say to each other, `ledger` reads the journal,
`compose` turns facts into statements, `pins` into commits.
"""
