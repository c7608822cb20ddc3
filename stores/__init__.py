"""What the permanent stores share: which writes go together, what both decide alike."""
