"""Rival methods behind the interface that FluxShard itself is evaluated through."""
