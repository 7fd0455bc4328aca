"""FluxShard as ROS 2 nodes: conversion, parameters, QoS. No algorithm."""
