"""Setpoint: software delivery as one control system over change.

The folders are the life of a change, in order: core and ground (what all stand on), source, pipeline, artifact, evidence,
promotion, reconcile, rollout, observe; then adapters, app, api, client, web and cli. Imports only go backwards along this road.
"""

__version__ = "0.1.0"
