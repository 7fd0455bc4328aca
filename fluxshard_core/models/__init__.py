"""YOLO models: weights, letterbox, decode; the only room that imports ultralytics."""
