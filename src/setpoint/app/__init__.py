"""The running application: home, wiring, control loop and read queries."""
