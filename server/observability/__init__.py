"""What operators see: health, metrics, traces and log lines."""
