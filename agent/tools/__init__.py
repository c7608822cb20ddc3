"""What the model may use besides words: how tools are found, run, guarded, and kept in mind."""
