"""The parameters of the edge node, and the session they describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from fluxshard_core.motion.factory import IMAGE_SOURCES
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.shipped import profile_choice
from fluxshard_core.session import BackgroundConfig, SessionConfig
from fluxshard_core.session.config import AUTO_CODEC, PROXY_CODECS, CloudCompute, Profiles
from fluxshard_ros.model_parameters import AUTOSTART, MODEL_PARAMETERS
from fluxshard_ros.parameters import ParameterSpec

PARAMETERS = (
    *MODEL_PARAMETERS,
    AUTOSTART,
    ParameterSpec(
        "path",
        "auto",
        "Where to infer: always here, always in the cloud, or wherever it is faster",
        choices=("edge", "cloud", "auto"),
        dynamic=True,
    ),
    ParameterSpec(
        "transport",
        "none",
        "How to reach the cloud node: TCP bridge, DDS topics, or not at all",
        choices=("tcp", "dds", "none"),
    ),
    ParameterSpec("cloud_host", "127.0.0.1", "Address of the cloud node's TCP bridge"),
    ParameterSpec(
        "cloud_port", 7447, "Port of the cloud node's TCP bridge", minimum=1, maximum=65535
    ),
    ParameterSpec("tls_ca", "", "File with the CA of the cloud's certificate (PEM); empty: no TLS"),
    ParameterSpec("tls_cert", "", "File with this robot's certificate (PEM)"),
    ParameterSpec("tls_key", "", "File with its private key (PEM)"),
    ParameterSpec(
        "cloud_timeout",
        2.0,
        "Seconds to wait for the cloud before the edge finishes the frame itself",
        minimum=0.001,
        maximum=60.0,
        dynamic=True,
    ),
    ParameterSpec(
        "reuse",
        True,
        "Reuse features of past frames; false computes every frame whole",
        dynamic=True,
    ),
    ParameterSpec(
        "reuse_profile",
        "",
        "Reuse profile: empty for the one that comes with FluxShard for the model, none for the "
        "built-in policy, or a file of fluxshard calibrate",
    ),
    ParameterSpec(
        "motion",
        "encoder",
        "Where block motion comes from: x264 on the frames, a search, or nowhere",
        choices=IMAGE_SOURCES,
    ),
    ParameterSpec(
        "codec",
        "raw",
        "How blocks travel to the cloud",
        choices=(*PROXY_CODECS, AUTO_CODEC),
        dynamic=True,
    ),
    ParameterSpec(
        "cloud_compute",
        "auto",
        "What the cloud computes of each frame: the critical blocks, or the whole frame, which "
        "costs it more and loses nothing to reuse; auto: whole where a codec loses something "
        "anyway and the cloud needs hardly longer",
        choices=get_args(CloudCompute),
        dynamic=True,
    ),
    ParameterSpec(
        "whole_if_sooner",
        True,
        "Compute a frame whole here where that takes less time than its changed blocks",
        dynamic=True,
    ),
    ParameterSpec(
        "background_edge",
        False,
        "Bring this machine's stale blocks up to date while no image waits",
        dynamic=True,
    ),
    ParameterSpec(
        "background_cloud",
        False,
        "Send stale blocks to the cloud while no image waits",
        dynamic=True,
    ),
    ParameterSpec(
        "background_probe",
        True,
        "Measure a TCP link that no image uses, to notice when it has become fast enough",
        dynamic=True,
    ),
    ParameterSpec(
        "edge_profile",
        "",
        "Latency profile of this machine (fluxshard profile); with both, `auto` places frames by "
        "them",
    ),
    ParameterSpec("cloud_profile", "", "Latency profile of the cloud's machine"),
    ParameterSpec(
        "confidence",
        0.25,
        "Lowest score of a detection",
        minimum=0.0,
        maximum=1.0,
        dynamic=True,
    ),
    ParameterSpec(
        "iou",
        0.7,
        "Overlap above which the lower-scored of two boxes of one class is dropped",
        minimum=0.0,
        maximum=1.0,
        dynamic=True,
    ),
)


def session_config(values: Mapping[str, Any]) -> SessionConfig:
    """Return what the values of :data:`PARAMETERS` make of a session."""
    path = "edge" if values["transport"] == "none" and values["path"] == "auto" else values["path"]
    return SessionConfig(
        path,
        values["confidence"],
        values["iou"],
        values["cloud_timeout"],
        reuse=ReuseConfig() if values["reuse"] else None,
        reuse_profile=profile_choice(values["reuse_profile"]),
        motion=values["motion"],
        codec=values["codec"],
        profiles=_profiles(values),
        cloud_compute=values["cloud_compute"],
        whole_if_sooner=values["whole_if_sooner"],
        background=BackgroundConfig(
            values["background_edge"],
            values["background_cloud"],
            probe=values["background_probe"],
        ),
    )


def _profiles(values: Mapping[str, Any]) -> Profiles | None:
    edge, cloud = values["edge_profile"], values["cloud_profile"]
    if not edge or not cloud:
        return None
    return Profiles(LatencyProfile.load(Path(edge)), LatencyProfile.load(Path(cloud)))
