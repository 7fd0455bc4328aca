"""How every node of the package starts and stops."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node

from fluxshard_core.errors import FluxShardError
from fluxshard_ros.dds_settings import apply_dds_settings


def run(make_node: Callable[[], Node], arguments: list[str] | None = None) -> int:
    """Make a node, spin it until it is told to stop, and return the exit status.

    SIGINT and SIGTERM end the spin. An error made on purpose is one line on stderr, status 1.
    """
    # The library logs through `logging`; rclpy prints only its own.
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] [%(name)s]: %(message)s")
    apply_dds_settings()
    rclpy.init(args=arguments)
    node: Node | None = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except FluxShardError as error:
        print(f"{sys.argv[0].rsplit('/', 1)[-1]}: {error}", file=sys.stderr)
        return 1
    finally:
        if node is not None:
            close = getattr(node, "close", None)
            if close is not None:
                close()
            node.destroy_node()
        rclpy.try_shutdown()
    return int(getattr(node, "exit_status", 0))


def autostart(node: LifecycleNode) -> None:
    """Configure and activate ``node`` now; raise ``FluxShardError`` when it refuses."""
    if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
        raise FluxShardError(f"{node.get_name()} could not be configured; its log says why")
    if node.trigger_activate() != TransitionCallbackReturn.SUCCESS:
        raise FluxShardError(f"{node.get_name()} could not be activated; its log says why")
