"""Starts the edge node, the cloud node, or both on one machine."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import (
    EqualsSubstitution,
    LaunchConfiguration,
    OrSubstitution,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def _arguments() -> list[DeclareLaunchArgument]:
    def share(name: str) -> PathJoinSubstitution:
        return PathJoinSubstitution([FindPackageShare("fluxshard"), "config", name])

    return [
        DeclareLaunchArgument(
            "role",
            default_value="both",
            choices=["edge", "cloud", "both"],
            description="Which node to start here",
        ),
        DeclareLaunchArgument(
            "model",
            default_value="yolo11n",
            description="Model name (yolo11n, yolo11s-seg, ...) or a path to .pt or .safetensors",
        ),
        DeclareLaunchArgument(
            "path",
            default_value="auto",
            choices=["edge", "cloud", "auto"],
            description="Where the edge node has frames inferred",
        ),
        DeclareLaunchArgument(
            "transport",
            default_value="tcp",
            choices=["tcp", "dds", "none"],
            description="How edge and cloud talk; none only for an edge alone",
        ),
        DeclareLaunchArgument(
            "image", default_value="image", description="Camera topic the edge node subscribes to"
        ),
        DeclareLaunchArgument(
            "cloud_host", default_value="127.0.0.1", description="Address of the TCP bridge"
        ),
        DeclareLaunchArgument(
            "cloud_port", default_value="7447", description="Port of the TCP bridge"
        ),
        DeclareLaunchArgument(
            "bind_host", default_value="127.0.0.1", description="Address the cloud node listens on"
        ),
        DeclareLaunchArgument(
            "tls_ca", default_value="", description="CA of the other end's certificate (PEM)"
        ),
        DeclareLaunchArgument(
            "tls_cert", default_value="", description="Certificate of the node started here (PEM)"
        ),
        DeclareLaunchArgument(
            "tls_key", default_value="", description="Private key of that certificate (PEM)"
        ),
        DeclareLaunchArgument(
            "require_client_cert",
            default_value="false",
            choices=["true", "false"],
            description="Whether the cloud node admits only robots with a certificate",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of both nodes and their topics"
        ),
        DeclareLaunchArgument(
            "edge_config", default_value=share("edge.yaml"), description="Edge parameter file"
        ),
        DeclareLaunchArgument(
            "cloud_config", default_value=share("cloud.yaml"), description="Cloud parameter file"
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments override the parameter files."""
    role = LaunchConfiguration("role")
    model = {"model": ParameterValue(LaunchConfiguration("model"), value_type=str)}
    transport = {"transport": LaunchConfiguration("transport")}
    host = ParameterValue(LaunchConfiguration("cloud_host"), value_type=str)
    port = ParameterValue(LaunchConfiguration("cloud_port"), value_type=int)
    tls = {
        name: ParameterValue(LaunchConfiguration(name), value_type=str)
        for name in ("tls_ca", "tls_cert", "tls_key")
    }
    door = {
        "bind_host": ParameterValue(LaunchConfiguration("bind_host"), value_type=str),
        "require_client_cert": ParameterValue(
            LaunchConfiguration("require_client_cert"), value_type=bool
        ),
    }
    edge = Node(
        package="fluxshard",
        executable="edge_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("edge_config"),
            model,
            transport,
            {"path": LaunchConfiguration("path"), "cloud_host": host, "cloud_port": port},
            tls,
        ],
        remappings=[("image", LaunchConfiguration("image"))],
        condition=IfCondition(
            OrSubstitution(EqualsSubstitution(role, "edge"), EqualsSubstitution(role, "both"))
        ),
        output="screen",
    )
    cloud = Node(
        package="fluxshard",
        executable="cloud_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("cloud_config"),
            model,
            transport,
            {"port": port},
            door,
            tls,
        ],
        condition=IfCondition(
            OrSubstitution(EqualsSubstitution(role, "cloud"), EqualsSubstitution(role, "both"))
        ),
        output="screen",
    )
    return LaunchDescription([*_arguments(), edge, cloud])
