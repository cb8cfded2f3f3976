"""Everything that touches the outside: files, processes, sockets, databases. Built only in `setpoint.app.wiring`."""
