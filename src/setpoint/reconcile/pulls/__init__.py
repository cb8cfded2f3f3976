"""Pull secrets: what the nodes of a namespace show a registry, made and rotated by Setpoint."""
