"""FluxShard's library: motion-aware feature reuse and edge-cloud inference, without ROS."""

__version__ = "0.1.0"
