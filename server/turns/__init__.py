"""A message on its way to its answer: accepted, waiting, run, ended, taken over."""
