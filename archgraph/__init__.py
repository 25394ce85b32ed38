"""archgraph."""
