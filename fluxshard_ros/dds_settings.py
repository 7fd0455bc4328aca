"""Settings of the middleware for camera-sized messages, unless the user has made their own."""

from __future__ import annotations

import os
from pathlib import Path

PROFILES = Path(__file__).with_name("fastdds.xml")
LOCAL_PROFILES = Path(__file__).with_name("fastdds_local.xml")
_USER_SETTINGS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


def apply_dds_settings(*, local_only: bool = False) -> None:
    """Point Fast DDS to our profiles for this process and its children; call before rclpy starts.

    ``local_only`` keeps everything on this machine. Other middlewares ignore the profiles and get
    the discovery range alone.
    """
    if any(name in os.environ for name in _USER_SETTINGS):
        return
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(LOCAL_PROFILES if local_only else PROFILES)
    if local_only:
        # LOCALHOST would have rmw_fastrtps add transports of its own, with the small segment.
        fastdds = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith(
            "rmw_fastrtps"
        )
        os.environ.setdefault(
            "ROS_AUTOMATIC_DISCOVERY_RANGE", "SYSTEM_DEFAULT" if fastdds else "LOCALHOST"
        )
