"""The executor that runs tasks as sandboxed processes: `client` in the server, `process` in the runner, `protocol` between them.

The runner is its own process, started before any key is read; it executes project code so that the server never has to.
"""
