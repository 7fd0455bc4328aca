"""Package metadata, read by pip and by colcon (ament_python)."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "fluxshard"

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Motion-aware, cached, edge-cloud vision for robots",
    license="Apache-2.0",
    maintainer="FluxShard maintainers",
    maintainer_email="maintainers@users.noreply.r-seed-c3980753.example",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["fluxshard_core", "fluxshard_core.*", "fluxshard_ros"]),
        "fluxshard_kernels",
        *(f"fluxshard_kernels.{name}" for name in find_packages("kernels")),
    ],
    package_dir={"fluxshard_kernels": "kernels"},
    package_data={
        "fluxshard_core.reuse": ["profiles/*.yaml"],
        "fluxshard_kernels.cpu": ["*.cpp", "*.h"],
        "fluxshard_ros": ["*.xml"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.yaml")),
    ],
    entry_points={
        "console_scripts": [
            "fluxshard = fluxshard_core.cli:main",
            "edge_node = fluxshard_ros.edge_node:main",
            "cloud_node = fluxshard_ros.cloud_node:main",
            "camera_player = fluxshard_ros.camera_player:main",
        ],
        # Commands other packages add to `fluxshard`, so that the core never imports ROS.
        "fluxshard.commands": [
            "bench = fluxshard_core.commands.bench:command",
            "calibrate = fluxshard_core.commands.calibrate:command",
            "certs = fluxshard_core.commands.certs:command",
            "cloud = fluxshard_core.commands.cloud:command",
            "demo = fluxshard_ros.demo:command",
            "eval = fluxshard_core.commands.evaluate:command",
            "netlab = fluxshard_core.commands.netlab:command",
            "simulate = fluxshard_core.commands.simulate:command",
            "plan = fluxshard_core.commands.plan:command",
            "profile = fluxshard_core.commands.profile:command",
            "verify = fluxshard_core.commands.verify:command",
        ],
    },
    # The dense rivals the benchmarks can compare with.
    extras_require={
        "bench": ["onnx>=1.17,<2", "onnxruntime>=1.20,<2", "openvino>=2025.0,<2027"],
    },
    zip_safe=False,
)
