"""Who somebody is: principals behind tokens, people and teams of the accepted setpoint.yaml, role keys of the home."""
