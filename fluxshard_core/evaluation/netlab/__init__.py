"""Edge and cloud in two network namespaces, joined by a link of a known rate."""
