"""Is what a question needs in the context that the agent would send?"""
