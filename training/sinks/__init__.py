"""Where runs are logged, one file each: `open_sink(start)` returns a `training.sink.Sink`."""
