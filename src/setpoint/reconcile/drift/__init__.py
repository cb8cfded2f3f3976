"""Drift: what is live and was not made so by Setpoint; every case is a record before anything is done about it."""
