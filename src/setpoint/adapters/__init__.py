"""Everything that touches the outside: files, processes, sockets, databases. For a server they are built in `setpoint.app.wiring` only."""
